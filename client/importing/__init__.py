"""`billing customers import`: a spreadsheet of customers, each invited exactly once."""
