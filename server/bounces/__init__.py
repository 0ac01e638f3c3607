"""Takes what comes back of e-mails, by SMTP or LMTP, and has it recorded."""
