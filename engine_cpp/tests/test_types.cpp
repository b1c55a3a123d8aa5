// Narrow types: the definitions by hand, and the bits of the reference from every kernel.

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "builder.hpp"
#include "check.hpp"
#include "minisim/errors.hpp"

using namespace minisim;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::uint32_t bits(float x) {
    std::uint32_t u;
    std::memcpy(&u, &x, sizeof u);
    return u;
}
float from_bits(std::uint32_t u) {
    float x;
    std::memcpy(&x, &u, sizeof x);
    return x;
}

template <class T>
bool same_bits(const std::vector<T>& x, const std::vector<T>& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
}

// Any pattern now and then: denormals, infinities, NaNs of both kinds.
void draw(std::mt19937& random, Bf16& x) {
    std::normal_distribution<float> normal;
    x = random() % 16 == 0 ? Bf16{static_cast<std::uint16_t>(random())} : narrow(normal(random));
}
void draw(std::mt19937& random, Fp16& x) {
    std::normal_distribution<float> normal;
    x = random() % 16 == 0 ? Fp16{static_cast<std::uint16_t>(random())} : narrow_to_fp16(normal(random));
}
void draw(std::mt19937& random, float& x) {
    std::normal_distribution<float> normal;
    x = random() % 32 == 0 ? from_bits(static_cast<std::uint32_t>(random())) : normal(random);
}
void draw(std::mt19937& random, std::int8_t& x) {
    x = random() % 8 == 0 ? std::int8_t{-128} : static_cast<std::int8_t>(random());
}
void draw(std::mt19937& random, std::uint8_t& x) {
    x = random() % 8 == 0 ? std::uint8_t{255} : static_cast<std::uint8_t>(random());
}
void draw(std::mt19937& random, std::int32_t& x) { x = static_cast<std::int32_t>(random()); }

template <class T>
std::vector<T> drawn(std::mt19937& random, std::size_t count) {
    std::vector<T> values(count);
    for (T& x : values) draw(random, x);
    return values;
}

template <class T>
constexpr DType dtype_of() {
    if constexpr (std::is_same_v<T, Bf16>) return DType::kBf16;
    if constexpr (std::is_same_v<T, Fp16>) return DType::kFp16;
    return std::is_same_v<T, std::uint8_t> ? DType::kUint8 : DType::kInt8;
}

void run(const Kernel& kernel, const MatmulArgs& x, Scratch& s) { kernel.matmul(x, s); }
void run(const Kernel& kernel, const IntegerMatmulArgs& x, Scratch& s) { kernel.integer_matmul(x, s); }

bool equal_sums(bool last, const std::vector<float>& x, const std::vector<float>& y) {
    if (last) return same_bits(x, y);
    for (std::size_t i = 0; i < x.size(); ++i) {  // inside a chain NaNs may differ
        const bool both_nan = x[i] != x[i] && y[i] != y[i];
        if (!both_nan && bits(x[i]) != bits(y[i])) return false;
    }
    return true;
}
bool equal_sums(bool, const std::vector<std::int32_t>& x, const std::vector<std::int32_t>& y) {
    return same_bits(x, y);
}

template <class T, class TB, class Sum>
void compare_matmuls(unsigned seeds, std::size_t longest_k, bool residuals, unsigned activations) {
    std::mt19937 random(11);
    const auto flip = [&] { return random() % 2 == 0; };
    for (unsigned seed = 0; seed < seeds; ++seed) {
        const std::size_t m = 1 + random() % 20, n = 1 + random() % 70;
        const std::size_t k = 1 + random() % (flip() ? 40 : longest_k);
        const auto a = drawn<T>(random, m * k);
        const auto b = drawn<TB>(random, k * n);
        const auto bias = drawn<Sum>(random, n), residual = drawn<Sum>(random, m * n);
        const auto before = drawn<Sum>(random, m * n);
        MatmulArgsOf<Sum> x{};
        x.a_dtype = dtype_of<T>();
        x.b_dtype = dtype_of<TB>();
        x.a = a.data();
        x.b = b.data();
        x.bias = flip() ? bias.data() : nullptr;
        x.residual = residuals && flip() ? residual.data() : nullptr;
        x.m = m;
        x.k = k;
        x.n = n;
        x.a_transposed = flip();
        x.b_transposed = flip();
        x.clear = flip();
        x.last = flip();
        x.activation = static_cast<Activation>(random() % activations);
        auto expected = before;
        Scratch scratch;
        x.c = expected.data();
        run(kReferenceKernel, x, scratch);
        for (const Kernel& kernel : kernels()) {
            auto found = before;
            x.c = found.data();
            run(kernel, x, scratch);
            if (equal_sums(x.last, expected, found)) continue;
            std::printf("%s: m=%zu k=%zu n=%zu seed=%u\n", kernel.name, m, k, n, seed);
            CHECK(!"bits of the reference");
        }
    }
}

}  // namespace

// -- bf16 -----------------------------------------------------------------------------------------

TEST(bf16_is_the_upper_half) {
    CHECK_EQUAL(widen(Bf16{0x3F80}), 1.0f);
    CHECK_EQUAL(widen(Bf16{0xC049}), -3.140625f);
    CHECK_EQUAL(bits(widen(Bf16{0x0001})), 0x00010000u);  // a denormal stays one
    CHECK_EQUAL(widen(Bf16{0xFF80}), -kInf);
}

TEST(bf16_rounds_to_nearest_even) {
    const struct {
        std::uint32_t from;
        std::uint16_t to;
    } cases[] = {
        {0x3F800000, 0x3F80}, {0x3F807FFF, 0x3F80}, {0x3F808000, 0x3F80},  // a tie, down to even
        {0x3F808001, 0x3F81}, {0x3F818000, 0x3F82},                        // a tie, up to even
        {0xBF818000, 0xBF82}, {0x80000000, 0x8000}, {0x00008000, 0x0000},  // denormals
        {0x00008001, 0x0001}, {0x007FFFFF, 0x0080},                        // up to a normal
        {0x7F7F7FFF, 0x7F7F}, {0x7F7F8000, 0x7F80}, {0xFF7FFFFF, 0xFF80},  // beyond the largest
        {0x7F800000, 0x7F80}, {0x7F800001, 0x7FC0}, {0xFFFFFFFF, 0x7FC0},  // one NaN for all
    };
    for (const auto& x : cases) CHECK_EQUAL(narrow(from_bits(x.from)).bits, x.to);
    for (std::uint32_t u = 0; u < 0x10000; ++u) {  // what is a bf16 stays it
        const Bf16 x = {static_cast<std::uint16_t>(u)};
        const bool nan = (u & 0x7FFF) > 0x7F80;
        CHECK_EQUAL(narrow(widen(x)).bits, nan ? kBf16NanBits : x.bits);
    }
}

// Against the distance to both neighbours, in double.
TEST(bf16_rounds_to_the_nearer_neighbour) {
    std::mt19937 random(5);
    for (int i = 0; i < 20000; ++i) {
        const std::uint32_t u = static_cast<std::uint32_t>(random()) & 0x7F7EFFFF;  // finite
        const double x = from_bits(u), low = from_bits(u & 0xFFFF0000);
        const double high = from_bits((u & 0xFFFF0000) + 0x10000);
        const bool even = ((u >> 16) & 1) == 0;
        const bool down = x - low < high - x || (x - low == high - x && even);
        CHECK_EQUAL(narrow(static_cast<float>(x)).bits, (u >> 16) + (down ? 0 : 1));
    }
}

TEST(rounding_has_the_same_bits_in_every_kernel) {
    std::mt19937 random(6);
    std::vector<float> x(10007);
    for (float& value : x) value = from_bits(static_cast<std::uint32_t>(random()));
    std::vector<Bf16> expected(x.size()), found(x.size());
    for (const DType dtype : {DType::kBf16, DType::kFp16}) {
        kReferenceKernel.round(x.data(), x.size(), dtype, expected.data());
        for (const Kernel& kernel : kernels()) {
            kernel.round(x.data(), x.size(), dtype, found.data());
            CHECK(same_bits(expected, found));
        }
    }
}

// -- fp16 -----------------------------------------------------------------------------------------

// Each of the 65,536 values, from its fields.
TEST(fp16_is_widened_exactly_and_back) {
    for (std::uint32_t u = 0; u < 0x10000; ++u) {
        const Fp16 x = {static_cast<std::uint16_t>(u)};
        const std::uint32_t exponent = (u >> 10) & 0x1F, significand = u & 0x3FF;
        const bool nan = exponent == 0x1F && significand != 0;
        const double size = exponent == 0x1F ? kInf
                            : exponent == 0  ? std::ldexp(significand, -24)
                                             : std::ldexp(significand + 1024, static_cast<int>(exponent) - 25);
        const float expected = static_cast<float>(u & 0x8000 ? -size : size);
        CHECK(nan ? std::isnan(widen(x)) : bits(widen(x)) == bits(expected));
        CHECK_EQUAL(narrow_to_fp16(widen(x)).bits, nan ? kFp16NanBits : x.bits);
    }
}

// Around each of them: a float is nearer to one of two neighbours, and half way to the even one.
TEST(fp16_rounds_to_the_nearer_neighbour) {
    for (std::uint32_t u = 0; u < 0x7C00; ++u) {  // the last one's upper neighbour is infinite: as if it were 2^16
        const auto even = static_cast<std::uint16_t>(u % 2 == 0 ? u : u + 1), up = static_cast<std::uint16_t>(u + 1);
        const float low = widen(Fp16{static_cast<std::uint16_t>(u)});
        const float high = u == 0x7BFF ? 65536.0f : widen(Fp16{up});
        const float middle = low + (high - low) / 2;  // exact: 11 bits, and one more
        CHECK_EQUAL(narrow_to_fp16(middle).bits, even);
        CHECK_EQUAL(narrow_to_fp16(-middle).bits, even | 0x8000);
        CHECK_EQUAL(narrow_to_fp16(std::nextafter(middle, 0.0f)).bits, u);
        CHECK_EQUAL(narrow_to_fp16(std::nextafter(middle, kInf)).bits, up);
        CHECK_EQUAL(narrow_to_fp16(std::nextafter(high, 0.0f)).bits, up);
    }
    CHECK_EQUAL(narrow_to_fp16(1e30f).bits, 0x7C00);
    CHECK_EQUAL(narrow_to_fp16(-kInf).bits, 0xFC00);
    CHECK_EQUAL(narrow_to_fp16(from_bits(0xFF800001)).bits, kFp16NanBits);
    CHECK_EQUAL(narrow_to_fp16(from_bits(1)).bits, 0);
}

TEST(fp16_matmuls_have_the_bits_of_the_reference) {
    compare_matmuls<Fp16, Fp16, float>(100, 90, true, kActivations);
}

TEST(bf16_matmul_sums_in_fp32) {
    // 1 + 2^-8 is no bf16, but the sum keeps it until it is rounded.
    const Bf16 a[] = {narrow(1.0f), narrow(0x1p-8f), narrow(0x1p-20f)};
    const Bf16 b[] = {narrow(1.0f), narrow(1.0f), narrow(1.0f)};
    for (const Kernel& kernel : kernels()) {
        float c = 99.0f;
        Scratch scratch;
        MatmulArgs args{};
        args.a_dtype = args.b_dtype = DType::kBf16;
        args.a = a;
        args.b = b;
        args.c = &c;
        args.m = args.n = 1;
        args.k = 3;
        args.clear = args.last = true;
        kernel.matmul(args, scratch);
        CHECK_EQUAL(c, 1.0f + 0x1p-8f + 0x1p-20f);
    }
}

TEST(bf16_matmuls_have_the_bits_of_the_reference) {
    compare_matmuls<Bf16, Bf16, float>(200, 90, true, kActivations);
}

namespace {

template <class T>
void compare_vectors() {
    constexpr DType kType = dtype_of<T>();
    std::mt19937 random(3);
    for (unsigned seed = 0; seed < 200; ++seed) {
        const std::size_t rows = 1 + random() % 5, cols = 1 + random() % (seed % 4 ? 70 : 600);
        const auto x = drawn<T>(random, rows * cols), y = drawn<T>(random, rows * cols);
        const auto source = [&](const std::vector<T>& values) {
            return VectorSource{values.data(), random() % 2 == 0 ? 0 : cols, random() % 2, kType};
        };
        const auto src0 = source(x), src1 = source(y), src2 = source(x);
        const auto op = static_cast<VectorOp>(seed % kVectorOps);
        if (info(op).is_move || info(op).is_fold || info(op).is_conversion()) continue;  // no kernel's; test_folds.cpp
        const bool reduces = info(op).is_reduction;
        const VectorSource packed = {x.data(), cols, 1, kType};
        const auto result = [&](const Kernel& kernel) {
            std::vector<T> out(reduces ? rows : rows * cols);
            if (reduces) {
                kernel.vector({op, {packed}, out.data(), rows, 1, cols, kType});
            } else {
                kernel.vector({op, {src0, src1, src2}, out.data(), rows, cols, 0, kType});
            }
            return out;
        };
        const auto expected = result(kReferenceKernel);
        for (const Kernel& kernel : kernels()) CHECK(same_bits(expected, result(kernel)));
    }
}

}  // namespace

TEST(vector_operations_on_16_bits_have_the_bits_of_the_reference) {
    compare_vectors<Bf16>();
    compare_vectors<Fp16>();
}

TEST(bf16_vector_operations_in_place) {
    std::mt19937 random(4);
    const auto x = drawn<Bf16>(random, 3 * 300);
    for (const Kernel& kernel : kernels()) {
        for (std::uint32_t code = 0; code < kVectorOps; ++code) {
            const auto op = static_cast<VectorOp>(code);
            const VectorOpInfo of = info(op);  // others have another shape, or are no kernel's
            if (of.is_reduction || of.is_move || of.is_fold || of.is_conversion()) continue;
            std::vector<Bf16> apart(x.size()), in_place = x;
            const VectorSource from = {x.data(), 300, 1, DType::kBf16};
            const VectorSource here = {in_place.data(), 300, 1, DType::kBf16};
            kernel.vector({op, {from, from, from}, apart.data(), 3, 300, 0, DType::kBf16});
            kernel.vector({op, {here, here, here}, in_place.data(), 3, 300, 0, DType::kBf16});
            CHECK(same_bits(apart, in_place));
        }
    }
}

// -- bool -----------------------------------------------------------------------------------------

// A comparison of bf16 makes bytes, and a choice takes them; blocks end where they like.
TEST(truth_values_are_bytes_in_every_kernel) {
    std::mt19937 random(5);
    for (unsigned seed = 0; seed < 60; ++seed) {
        const std::size_t rows = 1 + random() % 4, cols = 1 + random() % 300, count = rows * cols;
        const auto x = drawn<Bf16>(random, count), y = drawn<Bf16>(random, cols);
        const VectorSource left = {x.data(), cols, 1, DType::kBf16}, right = {y.data(), 0, 1, DType::kBf16};
        for (const Kernel& kernel : kernels()) {
            std::vector<std::uint8_t> less(count, 9);
            kernel.vector({VectorOp::kLess, {left, right}, less.data(), rows, cols, 0, DType::kBool});
            std::vector<Bf16> least(count);
            const VectorSource condition = {less.data(), cols, 1, DType::kBool};
            kernel.vector({VectorOp::kSelect, {condition, left, right}, least.data(), rows, cols, 0, DType::kBf16});
            for (std::size_t i = 0; i < count; ++i) {
                const bool expected = widen(x[i]) < widen(y[i % cols]);
                CHECK_EQUAL(int{less[i]}, int{expected});
                const float chosen = widen(expected ? x[i] : y[i % cols]);
                CHECK(chosen != chosen || widen(least[i]) == chosen);
            }
        }
    }
}

// -- int8 -----------------------------------------------------------------------------------------

TEST(matmuls_of_bytes_have_the_bits_of_the_reference) {
    compare_matmuls<std::int8_t, std::int8_t, std::int32_t>(90, 2500, false, 2);
    compare_matmuls<std::int8_t, std::uint8_t, std::int32_t>(40, 1300, false, 2);
    compare_matmuls<std::uint8_t, std::int8_t, std::int32_t>(40, 1300, false, 2);
    compare_matmuls<std::uint8_t, std::uint8_t, std::int32_t>(40, 1300, false, 2);
}

// 2^31 = 131072 * 2^14: the sum of that many products of -128 with itself does not fit.
TEST(int8_sums_wrap_around) {
    const std::vector<std::int8_t> low(131072, -128);
    for (const Kernel& kernel : kernels()) {
        std::int32_t c = 99;
        Scratch scratch;
        IntegerMatmulArgs args{};
        args.a_dtype = args.b_dtype = DType::kInt8;
        args.a = args.b = low.data();
        args.c = &c;
        args.m = args.n = 1;
        args.k = low.size();
        args.clear = args.last = true;
        kernel.integer_matmul(args, scratch);
        CHECK_EQUAL(c, std::numeric_limits<std::int32_t>::min());
        const std::int32_t bias = -1;
        args.bias = &bias;
        kernel.integer_matmul(args, scratch);
        CHECK_EQUAL(c, std::numeric_limits<std::int32_t>::max());
    }
}

// The widest products there are, of both signs, and transposed operands.
TEST(int16_activations_times_int8_weights) {
    const std::vector<std::int16_t> a = {-32768, 32767, 3, -32768, -5, 7};   // 2 x 3
    const std::vector<std::int8_t> b = {-128, 127, -1, 2, 100, -128};        // 3 x 2
    const std::vector<std::int32_t> expected = {4161837, -4096386, 4195009, -4162442};
    const std::vector<std::int16_t> a_transposed = {-32768, -32768, 32767, -5, 3, 7};
    const std::vector<std::int8_t> b_transposed = {-128, -1, 100, 127, 2, -128};
    for (const bool transposed : {false, true}) {
        std::vector<std::int32_t> c(4, 99);
        Scratch scratch;
        IntegerMatmulArgs args{};
        args.a_dtype = DType::kInt16;
        args.b_dtype = DType::kInt8;
        args.a = transposed ? a_transposed.data() : a.data();
        args.b = transposed ? b_transposed.data() : b.data();
        args.a_transposed = args.b_transposed = transposed;
        args.c = c.data();
        args.m = args.n = 2;
        args.k = 3;
        args.clear = args.last = true;
        for (const Kernel& kernel : kernels()) {
            kernel.integer_matmul(args, scratch);
            for (std::size_t i = 0; i < c.size(); ++i) CHECK_EQUAL(c[i], expected[i]);
        }
    }
}

TEST(requantising_rounds_half_to_even_and_saturates) {
    constexpr std::int32_t kLowest = std::numeric_limits<std::int32_t>::min();
    constexpr std::int32_t kHighest = std::numeric_limits<std::int32_t>::max();
    const std::vector<std::int32_t> sums = {1,   3,   5,   -1,  -3,   -5,     7,       253,
                                            254, 255, 256, 257, -255, -257,   -258,    kHighest,
                                            0,   2,   -2,  259, -259, kLowest};
    const std::vector<std::int8_t> halves = {0,   2,   2,   0,   -2,   -2, 4,    126, 127, 127, 127,
                                             127, -128, -128, -128, 127, 0, 1, -1, 127, -128, -128};
    for (const Kernel& kernel : kernels()) {
        std::vector<std::int8_t> found(sums.size());
        kernel.requantise(sums.data(), sums.size(), 0.5f, DType::kInt8, found.data());
        for (std::size_t i = 0; i < sums.size(); ++i) {
            CHECK_EQUAL(int{found[i]}, int{halves[i]});
        }
        // 2^24 + 1 is no float: the conversion rounds, to even, before the product does.
        const std::int32_t wide = (1 << 24) + 1;
        std::int8_t out = 0;
        kernel.requantise(&wide, 1, 0x1p-23f, DType::kInt8, &out);
        CHECK_EQUAL(int{out}, 2);
        kernel.requantise(&kHighest, 1, 3e38f, DType::kInt8, &out);  // an infinite product
        CHECK_EQUAL(int{out}, 127);
        kernel.requantise(&kLowest, 1, 3e38f, DType::kInt8, &out);
        CHECK_EQUAL(int{out}, -128);
        kernel.requantise(&kLowest, 1, 0x1p-149f, DType::kInt8, &out);
        CHECK_EQUAL(int{out}, 0);
        const std::int32_t edges[] = {-1, 0, 1, 3, 509, 510, 511, kHighest};  // halves: 1/2 and 3/2 go to even
        std::uint8_t bytes[8];
        kernel.requantise(edges, 8, 0.5f, DType::kUint8, bytes);
        CHECK((std::vector<std::uint8_t>(bytes, bytes + 8) == std::vector<std::uint8_t>{0, 0, 0, 2, 254, 255, 255, 255}));
    }
}

TEST(requantising_has_the_same_bits_in_every_kernel) {
    std::mt19937 random(8);
    std::vector<std::int32_t> x(5003);
    for (std::int32_t& value : x) value = static_cast<std::int32_t>(random()) >> (random() % 32);
    std::vector<std::int8_t> expected(x.size()), found(x.size());
    for (const float scale : {1.0f, 0.5f, 0.1f, 1e-3f, 0x1p-17f, 3e-8f, 1e30f}) {
        for (const DType dtype : {DType::kInt8, DType::kUint8}) {
            kReferenceKernel.requantise(x.data(), x.size(), scale, dtype, expected.data());
            for (const Kernel& kernel : kernels()) {
                kernel.requantise(x.data(), x.size(), scale, dtype, found.data());
                CHECK(same_bits(expected, found));
            }
        }
    }
}

// -- through the engine ---------------------------------------------------------------------------

TEST(tensors_of_every_type_are_set_and_read) {
    Builder b;
    const std::uint32_t f = b.typed(2, 3, Role::kInput, DType::kFp32);
    const std::uint32_t h = b.typed(2, 3, Role::kInput, DType::kBf16);
    const std::uint32_t c = b.typed(2, 3, Role::kInput, DType::kInt8);
    const std::uint32_t i = b.typed(2, 3, Role::kInput, DType::kInt32);
    Engine engine({64, "auto", true});
    engine.load(b.schedule());
    for (const std::uint32_t x : {f, h}) {  // poison
        for (const float value : get(engine, x)) CHECK(std::isnan(value));
    }
    CHECK(get<std::int8_t>(engine, c) == std::vector<std::int8_t>(6, -1));
    const std::vector<float> values = {0.0f, 1.0f, 1.00390625f, 3.1415927f, -kInf, 1e-40f};
    set(engine, f, values);
    set(engine, h, values);
    CHECK(get(engine, f) == values);
    CHECK((get(engine, h) == std::vector<float>{0.0f, 1.0f, 1.0f, 3.140625f, -kInf,
                                                from_bits(0x00010000)}));
    set(engine, c, std::vector<std::int8_t>{-128, 127, 0, 1, 2, 3});
    CHECK((get<std::int8_t>(engine, c) == std::vector<std::int8_t>{-128, 127, 0, 1, 2, 3}));
    const std::vector<std::int32_t> wide = {INT32_MIN, INT32_MAX, 0, -1, 0x7F800001, 5};
    set(engine, i, wide);
    CHECK(get<std::int32_t>(engine, i) == wide);
    // Any steps: columns of a column-major matrix, backwards.
    const float columns[] = {1, 4, 2, 5, 3, 6};
    engine.set_tensor(h, {reinterpret_cast<const std::byte*>(columns + 5), 2, 3, -4, -8});
    CHECK((get(engine, h) == std::vector<float>{6, 5, 4, 3, 2, 1}));
    const std::int8_t pairs[] = {1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0};
    engine.set_tensor(c, {reinterpret_cast<const std::byte*>(pairs), 2, 3, 6, 2, "int8"});
    CHECK((get<std::int8_t>(engine, c) == std::vector<std::int8_t>{1, 2, 3, 4, 5, 6}));
}

TEST(integers_have_relu_and_no_sigmoid) {
    for (const DType dtype : {DType::kInt8, DType::kInt32}) {
        Builder b;
        const std::uint32_t x = b.typed(3, 1, Role::kInput, dtype);
        const std::uint32_t y = b.typed(3, 4, Role::kOutput, dtype);
        const std::uint32_t from = b.tile(x, 0, 0, 3, 1), to = b.tile(y, 0, 0, 3, 4, 1);
        b.load(from, 0);
        b.vector(VectorOp::kRelu, to, 64, from, 0);
        b.store(to, 64, 1);
        Engine engine({128, "auto", true});
        engine.load(b.schedule());
        if (dtype == DType::kInt8) {
            set(engine, x, std::vector<std::int8_t>{-128, 0, 127});
            engine.run();
            CHECK((get<std::int8_t>(engine, y) ==
                   std::vector<std::int8_t>{0, 0, 0, 0, 0, 0, 0, 0, 127, 127, 127, 127}));
        } else {
            set(engine, x, std::vector<std::int32_t>{INT32_MIN, 7, INT32_MAX});
            engine.run();
            CHECK((get<std::int32_t>(engine, y) ==
                   std::vector<std::int32_t>{0, 0, 0, 0, 7, 7, 7, 7, INT32_MAX, INT32_MAX,
                                             INT32_MAX, INT32_MAX}));
        }
        b.vectors[0].op = static_cast<std::uint8_t>(VectorOp::kSigmoid);
        CHECK_THROWS(engine.load(b.schedule()), ScheduleError,
                     std::string("SIGMOID takes FP32 or BF16 or FP16, not ") + dtype_name(dtype));
    }
}
