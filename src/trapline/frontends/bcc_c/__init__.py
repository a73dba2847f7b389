"""BCC's C dialect: libclang's syntax tree, lowered to the IR."""
