/* Compiled once into sample.o:
 *   python -m ziglang cc -target bpfel-freestanding -O2 -g -c sample.c -o sample.o
 * It gives the tests an ELF object with symbols, relocations, .BTF and .BTF.ext that none of our code wrote. */
typedef unsigned int u32;
typedef unsigned long long u64;

enum color { RED, GREEN = 5, BLUE = -1 };
enum wide { SMALL = 1, LARGE = 0x100000000ULL };

struct inner {
	char name[16];
	union {
		u32 word;
		unsigned char bytes[4];
	};
};

struct sample {
	u64 start;
	struct {
		int first: 3;
		unsigned int second: 7;
	};
	struct inner in;
	struct sample *next;
	const volatile char *text;
	int (*compare)(const void *, struct inner *);
	enum color color;
	struct unknown *opaque;
	u32 matrix[2][3];
} __attribute__((packed, aligned(4)));

struct sample value = { .start = 7 };
enum wide large;

static __attribute__((noinline)) int add(int left, int right)
{
	return left + right + (int)value.start;
}

__attribute__((section("prog"))) int entry(struct sample *context)
{
	return add(context->first, (int)context->color);
}

char licence[] __attribute__((section("license"))) = "GPL";
