"""The options of the commands: one frozen object for each command, from which its command line is built."""
