"""The machine code of `trapline.kernel.type_names_ir` (python -m tools.develop.native_code)."""

LLVM = "22.1.0"
# By architecture: where the code begins, and the code in base 64.
CODE = {
    "x86_64": (
        0,
        "SItPCEiLdxBIOfEPg1wBAABVQVdBVkFVQVRTSIsXTItHGEyLTyBMi1coTItfMEiLXzhMi39QTItnQEiLf0hBvQEAAABIiXQk"
        "8EiJVCToTIl8JOCLAUiNLIJIg8EESIlMJPiLRIIERA+38MHoFoPgfEKLFDhJ/8ZIhdJND0T1vgwAAADrHWYuDx+EAAAAAACQ"
        "Sf/OSAH1TYX2SInWD4SeAAAARIt9AE2F/3TlTTn5D4a8AAAATYXkD4S6AAAARw+2LDhFhO10SUmNQAFJAce4/////2YuDx+E"
        "AAAAAAAPHwCJwUQw6Q+2yUGLDIpIwegISDHIRQ+2L0n/x0WE7XXhuf////9IMcjrCQ8fgAAAAAAxwEn/zGYuDx+EAAAAAACQ"
        "SYnHSSHfSY1HAUODPLsAde9DiTy76Vb///9mDx9EAABI/8dBvQEAAABIi0wk+EiLdCTwSDnxSItUJOi4AAAAAEyLfCTgD4Lo"
        "/v//6w8xwMO4AgAAAOsFuAEAAABbQVxBXUFeQV9dww==",
    ),
}
