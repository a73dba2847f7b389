"""Rules for statements: declarations and control flow."""

from __future__ import annotations

from collections.abc import Callable

from trapline.clang.ctype import CArray, CInt, CRecord, CType, CVoid, has_padding, promote
from trapline.frontends.bcc_c import tree
from trapline.frontends.bcc_c.lower_expressions import branch
from trapline.frontends.bcc_c.lower_initialisers import initialise
from trapline.frontends.bcc_c.lowerer import Lowerer, ir_type, is_scalar
from trapline.ir import function as f
from trapline.ir.types import Int

_LISTED_RANGE = 64


def lower_block(lo: Lowerer, node: tree.Block) -> None:
    """Lower the statements in order."""
    for statement in node.statements:
        lo.statement(statement)


def lower_declare(lo: Lowerer, node: tree.Declare) -> None:
    """Make variables: those that never change are just their value."""
    frame = lo.frame
    for variable in node.variables:
        if variable.static:
            continue
        with lo.b.at(variable.span):
            simple = is_scalar(variable.type) and not variable.changed and not frame.function.jumps
            if simple and variable.init is not None and not isinstance(variable.init, tree.InitList):
                frame.bindings[variable] = lo.converted(variable.init, variable.type)
                frame.values.add(variable)
                continue
            # A variable declared in a loop is bound again each time the loop's body is lowered, which is once.
            address = frame.bindings.get(variable)
            if address is None or variable in frame.values:
                address = lo.temporary(variable.type, variable.name)
                frame.bindings[variable] = address
                frame.values.discard(variable)
            if variable.init is not None:
                initialise(lo, address, variable.type, variable.init)
            elif is_scalar(variable.type) or _is_small_row(variable.type):
                # Where no assignment reaches a use, compilers make code that the verifier does not take.
                lo.b.fill(address, variable.type.size)
            elif isinstance(variable.type, CRecord) and has_padding(variable.type):
                # It may become a map's key: bytes that no assignment reaches must not differ.
                lo.b.fill(address, variable.type.size)


_SMALL = 64


def _is_small_row(type_: CType) -> bool:
    """Whether it is an array of a few numbers; one of bytes is rather a buffer, which something fills."""
    return (
        isinstance(type_, CArray)
        and isinstance(type_.element, CInt)
        and type_.element.size > 1
        and type_.size <= _SMALL
    )


def lower_if(lo: Lowerer, node: tree.If) -> None:
    """``if``."""
    then, after = lo.b.new_block("then"), lo.b.new_block("after")
    other = lo.b.new_block("else") if node.other is not None else after
    branch(lo, node.condition, then, other)
    lo.b.start(then)
    lo.statement(node.then)
    lo.b.jump(after)
    if node.other is not None:
        lo.b.start(other)
        lo.statement(node.other)
        lo.b.jump(after)
    lo.b.start(after)


def lower_loop(lo: Lowerer, node: tree.Loop) -> None:
    """``for``, ``while``, ``do``."""
    if node.start is not None:
        lo.statement(node.start)
    head, body, step, after = (lo.b.new_block(name) for name in ("loop", "body", "step", "after"))
    lo.b.jump(body if node.test_last else head)
    lo.b.start(head)
    if node.condition is None:
        lo.b.jump(body)
    else:
        branch(lo, node.condition, body, after)
    lo.b.start(body)
    lo.frame.breaks.append(after)
    lo.frame.continues.append(head if node.test_last else step)
    lo.statement(node.body)
    lo.frame.breaks.pop()
    lo.frame.continues.pop()
    if node.test_last:
        lo.b.jump(head)
    else:
        lo.b.jump(step)
        lo.b.start(step)
        if node.step is not None:
            lo.statement(node.step)
        lo.b.jump(head)
    lo.b.start(after)


def lower_switch(lo: Lowerer, node: tree.SwitchOn) -> None:
    """``switch``: the cases are known only after the body was lowered."""
    assert isinstance(node.value.type, CInt)
    type_ = promote(node.value.type)
    value = lo.converted(node.value, type_)
    head = lo.b.block
    after = lo.b.new_block("after")
    cases: list[tuple[int | None, int, f.Block]] = []
    lo.frame.breaks.append(after)
    lo.frame.switches.append(cases)
    lo.b.start(lo.b.new_block("switch"))
    lo.statement(node.body)
    lo.frame.switches.pop()
    lo.frame.breaks.pop()
    lo.b.jump(after)
    lo.b.start(head)
    _dispatch(lo, value, type_, cases, after)
    lo.b.start(after)


def _dispatch(
    lo: Lowerer, value: f.Op, type_: CInt, cases: list[tuple[int | None, int, f.Block]], after: f.Block
) -> None:
    default = next((block for low, _, block in cases if low is None), after)
    listed: list[tuple[int, f.Block]] = []
    for low, high, block in cases:
        if low is None:
            continue
        low, high = type_.wrap(low), type_.wrap(high)
        if high - low < _LISTED_RANGE:
            listed += [(number, block) for number in range(low, high + 1)]
            continue
        inside, outside = lo.b.new_block("above"), lo.b.new_block("beside")
        kind = Int(type_.bits)
        lo.b.branch(lo.b.compare("sge" if type_.signed else "uge", value, lo.b.const(kind, low)), inside, outside)
        lo.b.start(inside)
        lo.b.branch(lo.b.compare("sle" if type_.signed else "ule", value, lo.b.const(kind, high)), block, outside)
        lo.b.start(outside)
    if listed:
        lo.b.switch(value, default, listed)
    else:
        lo.b.jump(default)


def lower_case(lo: Lowerer, node: tree.Case) -> None:
    """``case`` and ``default``: control falls in from above."""
    block = lo.b.new_block("case")
    if not lo.frame.switches:
        raise lo.unsupported("a case label outside of a switch", node)
    lo.frame.switches[-1].append((node.low, node.high, block))
    lo.b.jump(block)
    lo.b.start(block)
    if node.body is not None:
        lo.statement(node.body)


def lower_break(lo: Lowerer, node: tree.Break) -> None:
    """``break``."""
    lo.b.jump(lo.frame.breaks[-1])


def lower_continue(lo: Lowerer, node: tree.Continue) -> None:
    """``continue``."""
    lo.b.jump(lo.frame.continues[-1])


def _label(lo: Lowerer, name: str) -> f.Block:
    block = lo.frame.labels.get(name)
    if block is None:
        block = lo.frame.labels[name] = lo.b.new_block("label")
    return block


def lower_goto(lo: Lowerer, node: tree.Goto) -> None:
    """``goto``."""
    lo.b.jump(_label(lo, node.label))


def lower_label(lo: Lowerer, node: tree.Label) -> None:
    """``label:``."""
    block = _label(lo, node.label)
    lo.b.jump(block)
    lo.b.start(block)
    if node.body is not None:
        lo.statement(node.body)


def lower_return(lo: Lowerer, node: tree.ReturnFrom) -> None:
    """``return``: of the function being inlined, or of the program."""
    frame = lo.frame
    returns = frame.function.returns
    if node.value is not None:
        if frame.result is None or isinstance(returns, CVoid):
            lo.statement(node.value)
        elif isinstance(returns, CRecord):
            lo.b.copy(frame.result, lo.value(node.value), returns.size)
        else:
            lo.b.store(lo.converted(node.value, returns), frame.result)
    lo.b.jump(frame.end)


def lower_barrier(lo: Lowerer, node: tree.CompilerBarrier) -> None:
    """``asm volatile("" …)``."""
    lo.b.barrier()
    for output in node.outputs:
        if is_scalar(output.type):
            place = lo.place(output)
            lo.store(lo.b.barrier(lo.b.load(ir_type(output.type), place.address)), place)


STATEMENTS: dict[type[tree.Node], Callable[..., None]] = {
    tree.Block: lower_block,
    tree.Declare: lower_declare,
    tree.If: lower_if,
    tree.Loop: lower_loop,
    tree.SwitchOn: lower_switch,
    tree.Case: lower_case,
    tree.Break: lower_break,
    tree.Continue: lower_continue,
    tree.Goto: lower_goto,
    tree.Label: lower_label,
    tree.ReturnFrom: lower_return,
    tree.CompilerBarrier: lower_barrier,
}
