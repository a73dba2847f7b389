"""The memory that native code works with: its state, a row per event, a row per step.

`reader`, `elements_ir` and `steps` write the code that reads them, `plan`, `drain` and `elements` fill them.
"""

from __future__ import annotations

import struct

# The state: u64 each.
STATE = (
    "consumer",  # address of the ring's consumer position
    "producer",  # address of its producer position
    "data",  # address of its data, mapped twice in a row
    "mask",  # its size minus 1
    "events",  # address of the rows of events
    "event_count",
    "steps",  # address of the rows of steps
    "pool",  # address of the texts
    "memo",  # address of the remembered texts' rows
    "memory",  # address of their bytes
    "out",  # where the next text goes
    "out_end",
    "handled",  # how many records were written as text
    "record",  # address of the record that Python must handle
    "length",  # and its length in bytes
    "next",  # the consumer position behind it
)

# The state of the printer of maps.
ELEMENTS = (
    "keys",  # address of the keys, one behind the other; a word may be read behind the last
    "key_size",
    "values",  # address of the values
    "stride",  # bytes of a value, all CPUs' parts
    "parts",  # how many words of it are added up
    "value_size",  # of the first number: 1, 2, 4 or 8 bytes; there is but one if it is no word
    "value_flags",
    "count",
    "records",  # address of room for {u64 value; key}, one for each element
    "record_size",
    "columns",  # address of the bytes to sort by
    "column_count",
    "spare",  # address of a word for each record
    "other",  # the same
    "order",  # address of the sorted records' addresses; 0 before the first call
    "next",  # the number of the next one that is shown
    "events",  # address of a row of an event: how a record is shown
    "steps",
    "pool",
    "out",
    "out_end",
)

# A row per byte to sort by: where it is in a record, and what it is xor-ed with.
COLUMN = struct.Struct("<II")
COLUMN_AT, COLUMN_FLIP = 0, 4

# What both return.
DONE, FULL, PYTHON = 0, 1, 2  # no record is left; the output has no room; `record` needs Python

# A row per event: the least length of its record (0: Python handles it), its steps, the most bytes that they write.
EVENT = struct.Struct("<IIII")
EVENT_SIZE, EVENT_FIRST, EVENT_END, EVENT_ROOM = 0, 4, 8, 12

# A row per step.
STEP = struct.Struct("<IIIIIIIIQ")
STEP_KIND, STEP_AT, STEP_SIZE, STEP_WIDTH, STEP_FLAGS, STEP_TRAILER, STEP_TRAILER_SIZE = 0, 4, 8, 12, 16, 20, 24
STEP_MASK = 32

# Kinds of steps.  `at` and `size` are in the record, of TEXT in the pool.
TEXT = 0  # the bytes as they are
DECIMAL = 1
HEX = 2
CHAR = 3
STRING = 4  # up to the first NUL; with the trailer from the pool when there is none
REMEMBERED = 6  # a value whose text Python made before; the mask of such a step is its own number, from 1 on
JSON_STRING = 5  # the same inside a JSON string; a byte that needs an escape is left to Python

# Flags of a step.
SIGNED = 1  # the number's own bytes are extended with their sign
NEGATIVE = 2  # the number, masked, is shown as a signed one
UPPER = 4  # hexadecimal digits
PREFIX = 8  # 0x before a hexadecimal number that is not 0
LEFT = 16  # fill up to `width` behind instead of before
ZEROS = 32  # fill with zeros behind the sign
COUNTED = 64  # the value is a stack: {u32; u32 count}, and at most `size` words

# A row per remembered value, found by its hash.
MEMO = struct.Struct("<QIIII")
MEMO_HASH, MEMO_WORDS, MEMO_KEY, MEMO_TEXT, MEMO_LENGTH = 0, 8, 12, 16, 20  # places and lengths in the memory, in bytes
MEMO_ROWS = 1 << 12
MEMO_PROBES = 8  # rows that are looked at, from that of the hash on
MEMO_BYTES = 1 << 20
MEMO_LONGEST = 16 << 10  # bytes of a text
HASH_FACTOR = 0x9E3779B97F4A7C15

SLACK = 32  # bytes that a step may write behind its text
