"""Functions: what control can do in them."""

from __future__ import annotations

from trapline.ir.builder import Builder


def test_a_loop_is_one_of_blocks_that_control_comes_back_to() -> None:
    b = Builder("branches")
    both, end = b.new_block("both"), b.new_block("end")
    b.branch(b.compare("eq", b.i64(1), b.i64(2)), both, end)
    b.start(both)
    b.jump(end)
    b.start(end)
    b.ret(b.i64(0))
    assert not b.finish().has_loop()

    b = Builder("loop")
    head, body, end = (b.new_block(name) for name in ("head", "body", "end"))
    b.jump(head)
    b.start(head)
    b.branch(b.compare("eq", b.i64(1), b.i64(2)), body, end)
    b.start(body)
    b.jump(head)
    b.start(end)
    b.ret(b.i64(0))
    assert b.finish().has_loop()
