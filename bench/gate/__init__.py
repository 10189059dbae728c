"""What decides whether a later session is slower than an earlier one."""
