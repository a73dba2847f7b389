"""What resolving each kind of attach point needs: the machine, what is wrong, and how a site is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from trapline.frontends.bpftrace import ast
from trapline.frontends.bpftrace import types as t
from trapline.frontends.bpftrace.config import CompileOptions, Config
from trapline.frontends.bpftrace.sites import Arguments, ProbeSite
from trapline.hints import NoReturn
from trapline.ir import spec
from trapline.ir.target import Target
from trapline.source import Diagnostic, Diagnostics


class Skip(Exception):
    """This attach point cannot be resolved; the diagnostic is recorded.  Never leaves `resolve_attach_points`."""


class Resolver:
    """The machine and the settings that attach points are resolved with, and what was found wrong.

    Args:
        target: knows functions and tracepoints.
        config: ``missing_probes`` decides what a missing probe means.
        options: ``unsafe`` allows absolute addresses; `pid` narrows.
        diagnostics: receives what is wrong.
    """

    def __init__(self, target: Target, config: Config, options: CompileOptions, diagnostics: Diagnostics) -> None:
        self.target = target
        self.config = config
        self.options = options
        self.diagnostics = diagnostics
        self.unsupported: list[Diagnostic] = []
        self._unmatched: list[ast.AttachPoint] = []

    def no_match(self, point: ast.AttachPoint) -> NoReturn:
        """Note that nothing matches a wildcard: an error only when nothing else is left of its block."""
        self._unmatched.append(point)
        raise Skip

    def finish_block(self, sites: Sequence[ProbeSite]) -> None:
        """Report the wildcards that nothing matches, when the block has no other place."""
        unmatched, self._unmatched = self._unmatched, []
        if not sites:
            for point in unmatched:
                with suppress(Skip):
                    self.missing(f"No matches for {point.provider} {point.text.partition(':')[2]}.", point)

    def missing(self, message: str, point: ast.AttachPoint, *hints: str) -> NoReturn:
        """Report an attach point that does not exist, as strictly as ``missing_probes`` asks."""
        hints = hints or (f"trapline -l '{point.provider}:*' lists what there is.",)
        policy = self.config.text("missing_probes")
        if policy == "error":
            self.diagnostics.error(message, point.span, *hints)
        elif policy == "warn":
            self.diagnostics.warning(message, point.span, *hints)
        raise Skip

    def refuse(self, point: ast.AttachPoint, what: str) -> NoReturn:
        """Report a kind of probe that is not implemented."""
        self.unsupported.append(Diagnostic(f"{what} are not supported yet", point.span))
        raise Skip

    def error(self, point: ast.AttachPoint, message: str, *hints: str) -> NoReturn:
        """Report a mistake."""
        self.diagnostics.error(message, point.span, *hints)
        raise Skip

    def attach(self, point: ast.AttachPoint, attach: spec.Attach, label: str) -> spec.AttachPoint:
        """Make the spec of one place."""
        optional = self.config.text("missing_probes") != "error"
        return spec.AttachPoint(attach, label, span=point.span.range, optional=optional)


def no_arguments(what: str) -> Callable[[], Arguments]:
    """Return what finds the arguments of a kind of probe that has none."""
    return lambda: Arguments(missing=f"{what} has no arguments")


def make_site(
    probe: ast.Probe,
    point: ast.AttachPoint,
    program_type: str,
    attach_points: Sequence[spec.AttachPoint],
    label: str,
    find_arguments: Callable[[], Arguments],
    *,
    names: Sequence[str] = (),
    expected_attach: str = "",
    retval: t.Type | None = None,
) -> ProbeSite:
    """Bind a block to the places of one program; see `ProbeSite`."""
    return ProbeSite(
        probe,
        point,
        point.provider,
        program_type,
        tuple(attach_points),
        label,
        tuple(names) or (label,),
        find_arguments,
        expected_attach,
        retval,
    )
