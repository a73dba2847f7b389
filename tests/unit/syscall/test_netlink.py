from trapline.syscall.netlink import _attribute


def test_attributes_are_padded():
    assert _attribute(1, b"abcde") == bytes([9, 0, 1, 0]) + b"abcde\0\0\0"
