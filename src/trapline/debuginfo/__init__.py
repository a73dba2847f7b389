"""What files of user programs say about themselves: functions, USDT probes, DWARF.  Bytes in, data out: no files."""
