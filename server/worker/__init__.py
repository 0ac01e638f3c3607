"""Does what is due in the background: e-mails to send, records to clear."""
