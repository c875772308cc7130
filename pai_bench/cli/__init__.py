"""The command line: parse, call a service, print (imports bench and below)."""
