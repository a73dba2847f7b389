"""``STRCMP("text", pointer)`` in the expressions of argdist and trace, which becomes a call of a C function."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trapline.hints import Any

_CALL = re.compile(r'STRCMP\("([^"]+)",(.+?)\)')

_FUNCTION = """
static inline bool streq_{number}(char const *ignored, uintptr_t str) {{
        char needle[] = {needle};
        char haystack[sizeof(needle)];
        {reader}(&haystack, sizeof(haystack), (void *)str);
        for (int i = 0; i < sizeof(needle) - 1; ++i) {{
                if (needle[i] != haystack[i])
                        return false;
        }}
        return true;
}}
"""


class StrcmpRewrite:
    """Rewrites ``STRCMP`` calls, under the name by which scripts import it."""

    @staticmethod
    def rewrite_expr(
        expr: str,
        bin_cmp: bool,
        is_user: object,
        probe_user_list: Iterable[str],
        streq_functions: str,
        probeid: int,
    ) -> dict[str, Any]:
        """Replace each ``STRCMP("text", pointer)`` by a call of a function of its own.

        The function is true where the memory begins with the text.

        Args:
            expr: a C expression.
            bin_cmp: the text is a C initialiser (``{0x17, 0x71}``) instead of characters.
            is_user: whether pointers lead to user memory.
            probe_user_list: the pointers that lead to user memory anyway.
            streq_functions: C functions of earlier expressions; the new ones are appended.
            probeid: the number of the next function.

        Returns:
            ``expr``, ``streq_functions`` and ``probeid`` after it.
        """
        user = frozenset(probe_user_list)
        for text, pointer in _CALL.findall(expr):
            in_user_memory = bool(is_user) or pointer.strip() in user
            streq_functions += _FUNCTION.format(
                number=probeid,
                needle=text if bin_cmp else f'"{text}"',
                reader="bpf_probe_read_user" if in_user_memory else "bpf_probe_read_kernel",
            )
            expr = expr.replace("STRCMP", f"streq_{probeid}", 1)
            probeid += 1
        return {"expr": expr, "streq_functions": streq_functions, "probeid": probeid}
