"""The C text that stands before every script: BCC's macros, the helpers, and what kernel headers would define."""
