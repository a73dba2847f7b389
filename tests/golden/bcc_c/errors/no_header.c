#include "mine.h"
int probe(struct pt_regs *ctx) { return 0; }
