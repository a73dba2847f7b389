// C++ names, methods and references; needs no C++ library.
#include <unistd.h>

#define NOINLINE __attribute__((noinline, used))
#define KEEP(x) __asm__ volatile("" ::"r"(x) : "memory")

namespace ns {
struct Base {
  int kind;
};
struct Shape : Base {
  int size;
  NOINLINE int get(int a) const {
    KEEP(this);
    return size + a;
  }
};
template <class T>
NOINLINE T twice(T x) {
  KEEP(x);
  return x + x;
}
NOINLINE int over(int a) {
  KEEP(a);
  return a;
}
NOINLINE int over(double a) {
  KEEP(&a);
  return a > 1;
}
}  // namespace ns

NOINLINE int by_reference(const ns::Shape &s, int &out) {
  KEEP(&s);
  out = s.size;
  return out;
}

int main(int argc, char **) {
  ns::Shape s;
  s.kind = 3, s.size = argc + 40;
  int out = 0;
  int r = s.get(1) + ns::twice(2L) + ns::over(1) + ns::over(2.0) + by_reference(s, out);
  KEEP(r);
  return 0;
}
