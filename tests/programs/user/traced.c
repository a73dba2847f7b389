/* The program that tests of user probes trace: functions with arguments of many types, USDT probes, an inlined call. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe_note.h"

enum color { RED, GREEN = 5, BLUE };
typedef unsigned long word_t;
struct point {
  int x;
  short y;
  char name[12];
};
struct node {
  struct node *next;
  struct point p;
  enum color c;
  unsigned a : 3, b : 5;
  int arr[4];
  union {
    int i;
    unsigned char bytes[4];
  } u;
};

unsigned short guarded_semaphore __attribute__((section(".probes")));
int counter = 7;
int numbers[3] = {7, 8, 9};

#define NOINLINE __attribute__((noinline, used))
#define KEEP(x) __asm__ volatile("" ::"r"(x) : "memory")

NOINLINE int add(int a, long b, const char *s) {
  KEEP(s);
  return a + (int)b + (int)strlen(s);
}

NOINLINE word_t walk(struct node *n, enum color c, word_t w, int *arr, void *v, _Bool f, short seventh,
                     unsigned char eighth) {
  KEEP(n);
  KEEP(arr);
  KEEP(v);
  KEEP(seventh);
  KEEP(eighth);
  return n->p.x + c + w + f;
}

NOINLINE int by_value(struct point p, int after, double d, int last) {
  KEEP(&p);
  return p.x + after + last + (int)d;
}

NOINLINE static int leaf(int n) {
  KEEP(n);
  return n;
}

static inline __attribute__((always_inline)) int inlined(int n) { return leaf(n + 1) + 1; }

NOINLINE int caller(int n) {
  int r = inlined(n * 2) + 2;
  KEEP(r);
  return r;
}

NOINLINE void fire(int i, const char *s, struct node *n, int *indexed, long at) {
  long negative = -i;
  __asm__ volatile(USDT_NOTE("tt", "one", "0", "-4@%0 8@%1 8@%2") ::"r"(i), "r"(s), "r"(n));
  __asm__ volatile(USDT_NOTE("tt", "multi", "0", "-4@%0") ::"r"(i));
  __asm__ volatile(USDT_NOTE("tt", "multi", "0", "-8@%0 4@%1") ::"r"(negative), "m"(n->p.x));
#ifdef __x86_64__
  __asm__ volatile(USDT_NOTE("tt", "forms", "0", "-4@$-9 -4@(%0,%1,4) 1@%b2 2@%w3 4@8(%0)") ::"r"(indexed),
                   "r"(at), "q"(i + 300), "q"(negative));
#endif
  if (guarded_semaphore)
    __asm__ volatile(USDT_NOTE("uu", "guarded", "guarded_semaphore", "4@$42 -4@%0 -2@%1 -1@%2") ::"r"(i),
                     "m"(n->p.y), "m"(n->p.name[0]));
}

int main(int argc, char **argv) {
  struct node n = {.p = {11, -2, "pointy"}, .c = GREEN, .a = 5, .b = 17, .arr = {1, 2, 3, 4}, .u = {9}};
  int loops = argc > 1 ? atoi(argv[1]) : 1;
  n.next = &n;
  numbers[0] += counter - 7; /* a page that was never touched cannot be read by a probe */
  for (int i = 0; i < loops; i++) {
    int r = add(i + 1, 1l << 33, "hello");
    r += walk(&n, BLUE, 99, numbers, &n, 1, -7, 200);
    r += by_value(n.p, i, 1.5, 3);
    r += caller(10);
    fire(i + 3, "text", &n, numbers, 2);
    if (loops > 1) usleep(20000);
    KEEP(r);
  }
  return 0;
}
