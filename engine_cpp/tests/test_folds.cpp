// Folds of the vector unit: what a chain over windows gives in every kernel, what is read, and what is refused.

#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "builder.hpp"
#include "check.hpp"
#include "minisim/errors.hpp"

using namespace minisim;

namespace {

constexpr std::uint32_t kTop = 0x0, kBottom = 0x40, kW = 0x80, kBias = 0xC0, kPart = 0x100, kY = 0x140;
constexpr float kInf = std::numeric_limits<float>::infinity();

// A signal of 8 points with 2 channels in two tiles, under a kernel of 3 taps with one point of padding at either end:
// row 3 i + t of the operand is x[i + t - 1].
struct Signal : Builder {
    explicit Signal(VectorOp op, DType type = DType::kFp32) : x(typed(8, 2, Role::kInput, type)),
                                                              w(typed(3, 2, Role::kWeight, type)),
                                                              b(typed(1, 2, Role::kWeight, type)),
                                                              part(typed(8, 2, Role::kIntermediate, partial_of(type))),
                                                              y(typed(8, 2, Role::kOutput, type)),
                                                              code(op) {}

    std::uint32_t x, w, b, part, y;
    VectorOp code;
    std::uint32_t top = tile(x, 0, 0, 4, 2), bottom = tile(x, 4, 0, 4, 2);
    std::uint32_t weights = tile(w, 0, 0, 3, 2), bias = tile(b, 0, 0, 1, 2);
    std::uint32_t first_two = tile(w, 0, 0, 2, 2), last_one = tile(w, 2, 0, 1, 2);
    std::uint32_t partial = tile(part, 0, 0, 8, 2, 1), result = tile(y, 0, 0, 8, 2, 1);

    // Rows of 2 columns, `inner` of them, `step` rows of the operand apart.
    void window(std::uint32_t at_row, std::uint32_t step, std::uint32_t inner, std::uint32_t from_row, bool more) {
        windows.push_back({1, inner, 2, at_row, 0, 0, step, from_row, 0, 0, 1, more});
    }

    // Appends a fold of `taps` taps from tap `first` on, with windows of its own.
    VectorRow& fold(std::uint32_t first, std::uint32_t taps, std::uint32_t dst, std::uint32_t dst_sram) {
        const auto run = [&](std::uint32_t tile, std::uint32_t sram, std::uint32_t begin, bool more) {
            const auto from = static_cast<std::uint32_t>(windows.size());
            for (std::uint32_t t = first; t < first + taps; ++t) {
                // points i + t - 1 of [begin, begin + 4), of outputs 0 <= i < 8
                const int low = std::max(0, static_cast<int>(begin) + 1 - static_cast<int>(t));
                const int high = std::min(8, static_cast<int>(begin) + 5 - static_cast<int>(t));
                const int point = low + static_cast<int>(t) - 1;
                window(static_cast<std::uint32_t>(low) * taps + t - first, taps,
                       static_cast<std::uint32_t>(high - low), static_cast<std::uint32_t>(point) - begin,
                       t + 1 < first + taps);
            }
            pieces.push_back({tile, sram, from, more});
        };
        const auto pieces_begin = static_cast<std::uint32_t>(pieces.size());
        run(top, kTop, 0, true);
        run(bottom, kBottom, 4, false);
        vector(code, dst, dst_sram, kNone, kNone);
        VectorRow& row = vectors.back();
        row.src0_pieces = pieces_begin;
        row.taps = taps;
        row.dtype = tensors[x].dtype;
        return row;
    }

    bool multiplies() const { return info(code).sources > 1; }

    Signal& loads() {
        load(top, kTop);
        load(bottom, kBottom);
        return *this;
    }

    // All taps by one operation.
    Signal& whole(Activation activation = Activation::kNone) {
        loads();
        if (multiplies()) load(weights, kW), load(bias, kBias);
        VectorRow& row = fold(0, 3, result, kY);
        if (multiplies()) row.src1 = weights, row.src1_sram = kW, row.src2 = bias, row.src2_sram = kBias;
        row.activation = static_cast<std::uint8_t>(activation);
        store(result, kY, 1);
        return *this;
    }

    // Two taps by one operation, the third by another that goes on from it.
    Signal& in_steps() {
        loads();
        if (multiplies()) load(first_two, kW);
        VectorRow& row = fold(0, 2, partial, kPart);
        if (multiplies()) row.src1 = first_two, row.src1_sram = kW;
        if (multiplies()) load(last_one, kW), load(bias, kBias);
        VectorRow& end = fold(2, 1, result, kY);
        end.acc = partial;
        end.acc_sram = kPart;
        if (multiplies()) end.src1 = last_one, end.src1_sram = kW, end.src2 = bias, end.src2_sram = kBias;
        store(result, kY, 1);
        return *this;
    }
};

template <class T>
std::vector<T> drawn(std::size_t count, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<T> values(count);
    for (T& value : values) {
        value = static_cast<T>(std::is_integral_v<T> ? static_cast<int>(random() % 256) - 128
                                                     : static_cast<int>(random() % 2001) / 1000.0 - 1.0);
    }
    return values;
}

template <class T>
std::vector<T> run(const Signal& p, const std::vector<T>& x, const std::vector<T>& w, const std::vector<T>& b,
                   const char* kernel, EngineStats* stats = nullptr) {
    Engine engine({4096, kernel, true});
    engine.load(p.schedule());
    set(engine, p.x, x);
    set(engine, p.w, w);
    set(engine, p.b, b);
    engine.run();
    if (stats) *stats = engine.stats();
    return get<T>(engine, p.y);
}

float folded(VectorOp op, const std::vector<float>& x, const std::vector<float>& w, const std::vector<float>& b,
             int i, int c) {
    const bool most = op == VectorOp::kFoldMax;
    float found = most ? -kInf : 0.0f;
    for (int t = 0; t < 3; ++t) {
        const int point = i + t - 1;
        const float padding = most ? -kInf : 0.0f;
        const float value = point < 0 || point > 7 ? padding : x[static_cast<std::size_t>(2 * point + c)];
        const auto column = static_cast<std::size_t>(c);
        if (most) found = std::max(found, value);
        if (op == VectorOp::kFoldSum) found += value;
        if (op == VectorOp::kFoldFma) found = std::fma(value, w[2 * static_cast<std::size_t>(t) + column], found);
    }
    return op == VectorOp::kFoldFma ? found + b[static_cast<std::size_t>(c)] : found;
}

constexpr VectorOp kFolds[] = {VectorOp::kFoldMax, VectorOp::kFoldSum, VectorOp::kFoldFma};

void refused(const std::function<void(Signal&)>& spoil, const std::string& text, VectorOp op = VectorOp::kFoldFma) {
    Signal p(op);
    p.whole();
    spoil(p);
    Engine engine({4096, "auto", true});
    CHECK_THROWS(engine.load(p.schedule()), ScheduleError, text);
}

}  // namespace

TEST(a_fold_is_a_chain_over_its_taps) {
    const auto x = drawn<float>(16, 1), w = drawn<float>(6, 2), b = drawn<float>(2, 3);
    for (const VectorOp op : kFolds) {
        for (const Kernel& kernel : kernels()) {
            const auto found = run(Signal(op).whole(), x, w, b, kernel.name);
            CHECK(found == run(Signal(op).in_steps(), x, w, b, kernel.name));
            for (int i = 0; i < 8; ++i) {
                for (int c = 0; c < 2; ++c) CHECK_EQUAL(found[2 * i + c], folded(op, x, w, b, i, c));
            }
        }
    }
}

TEST(what_the_address_generator_reads_is_counted) {
    EngineStats stats;
    const auto x = drawn<float>(16, 1), w = drawn<float>(6, 2), b = drawn<float>(2, 3);
    run(Signal(VectorOp::kFoldFma).whole(), x, w, b, "auto", &stats);
    const std::uint64_t taps = (8 + 7 + 7) * 2, weights = 6, bias = 2, result = 16;
    CHECK_EQUAL(stats.sram_read_bytes, 4 * (taps + weights + bias + result));
    run(Signal(VectorOp::kFoldFma).in_steps(), x, w, b, "auto", &stats);
    CHECK_EQUAL(stats.sram_read_bytes, 4 * (taps + weights + bias + 16 + result));  // and the partial results
    CHECK_EQUAL(stats.vectors, 2u);
}

TEST(an_activation_is_the_end_of_a_fold) {
    const auto x = drawn<float>(16, 4), w = drawn<float>(6, 5), b = drawn<float>(2, 6);
    for (const Kernel& kernel : kernels()) {
        const auto plain = run(Signal(VectorOp::kFoldFma).whole(), x, w, b, kernel.name);
        const auto relu = run(Signal(VectorOp::kFoldFma).whole(Activation::kRelu), x, w, b, kernel.name);
        const auto sigmoid = run(Signal(VectorOp::kFoldFma).whole(Activation::kSigmoid), x, w, b, kernel.name);
        for (std::size_t i = 0; i < plain.size(); ++i) {
            CHECK_EQUAL(relu[i], plain[i] > 0 ? plain[i] : 0.0f);
            CHECK(std::abs(sigmoid[i] - 1 / (1 + std::exp(-double{plain[i]}))) < 1e-7);
        }
    }
}

TEST(a_maximum_of_nothing_is_the_least_there_is) {
    for (const char* kernel : {"reference", "fast"}) {
        Signal p(VectorOp::kFoldMax);
        p.whole().vectors[0].src0_pieces = kNone;
        for (const float value : run(p, drawn<float>(16, 1), drawn<float>(6, 2), drawn<float>(2, 3), kernel)) {
            CHECK_EQUAL(value, -kInf);
        }
        Signal sums(VectorOp::kFoldSum);
        sums.whole().vectors[0].src0_pieces = kNone;
        for (const float value : run(sums, drawn<float>(16, 1), drawn<float>(6, 2), drawn<float>(2, 3), kernel)) {
            CHECK(value == 0.0f && !std::signbit(value));
        }
    }
}

TEST(a_maximum_is_nan_if_any_is_and_takes_the_positive_zero) {
    std::vector<float> x(16, -0.0f);
    x[0] = std::numeric_limits<float>::quiet_NaN();
    x[9] = 0.0f;
    for (const char* kernel : {"reference", "fast"}) {
        const auto found = run(Signal(VectorOp::kFoldMax).whole(), x, drawn<float>(6, 2), drawn<float>(2, 3), kernel);
        for (std::size_t i = 0; i < 8; ++i) {
            CHECK_EQUAL(std::isnan(found[2 * i]), i < 2);
            CHECK_EQUAL(std::signbit(found[2 * i + 1]), i < 3 || i > 5);
        }
    }
}

TEST(an_int8_maximum_pads_with_its_least) {
    const auto x = drawn<std::int8_t>(16, 7), w = drawn<std::int8_t>(6, 8), b = drawn<std::int8_t>(2, 9);
    const auto found = run(Signal(VectorOp::kFoldMax, DType::kInt8).whole(), x, w, b, "auto");
    CHECK(found == run(Signal(VectorOp::kFoldMax, DType::kInt8).in_steps(), x, w, b, "auto"));
    for (int i = 0; i < 8; ++i) {
        std::int8_t most = -128;
        for (int point = std::max(0, i - 1); point <= std::min(7, i + 1); ++point) most = std::max(most, x[2 * point]);
        CHECK_EQUAL(int{found[2 * i]}, int{most});
    }
}

TEST(a_bf16_chain_is_rounded_once_however_it_is_cut) {
    std::vector<float> x = drawn<float>(16, 10), w = drawn<float>(6, 11), b = drawn<float>(2, 12);
    const auto bf16 = [](std::vector<float>& values) {
        std::vector<Bf16> narrowed;
        for (float& value : values) {
            narrowed.push_back(narrow(value));
            value = widen(narrowed.back());
        }
        return narrowed;
    };
    const auto narrow_x = bf16(x), narrow_w = bf16(w), narrow_b = bf16(b);
    for (const VectorOp op : kFolds) {
        for (const Kernel& kernel : kernels()) {
            for (const bool steps : {false, true}) {
                Signal p(op, DType::kBf16);
                steps ? p.in_steps() : p.whole();
                Engine engine({4096, kernel.name, true});
                engine.load(p.schedule());
                const auto give = [&](std::uint32_t tensor, const std::vector<float>& values) {
                    const TensorView shape = engine.tensor_view(tensor);
                    engine.set_tensor(tensor, matrix(values, shape.rows, shape.cols));
                };
                give(p.x, x), give(p.w, w), give(p.b, b);
                engine.run();
                const std::vector<float> found = get(engine, p.y);
                for (int i = 0; i < 8; ++i) {
                    for (int c = 0; c < 2; ++c) {
                        CHECK_EQUAL(found[2 * i + c], widen(narrow(folded(op, x, w, b, i, c))));
                    }
                }
            }
        }
    }
}

TEST(a_fold_waits_for_its_pieces_and_for_what_it_goes_on_from) {
    Signal p(VectorOp::kFoldMax);
    p.in_steps();
    Engine engine({4096, "reference", true});
    engine.load(p.schedule());
    set(engine, p.x, drawn<float>(16, 1));
    Driver drive{engine};
    drive.both({0});
    drive.start(1);
    CHECK_THROWS(drive.start(2), Hazard, "read-after-write hazard at cycle 3: VECTOR (op 2) reads SRAM [0x40, 0x60)");

    engine.load(p.schedule());
    set(engine, p.x, drawn<float>(16, 1));
    Driver later{engine};
    later.both({0, 1});
    later.start(2);
    CHECK_THROWS(later.start(3), Hazard, "reads SRAM [0x100, 0x140)");

    Signal swapped(VectorOp::kFoldMax);
    swapped.whole();
    std::swap(swapped.pieces[0].sram, swapped.pieces[1].sram);
    engine.load(swapped.schedule());
    set(engine, p.x, drawn<float>(16, 1));
    CHECK_THROWS(engine.run(), Hazard, "wrong content");

    Signal again(VectorOp::kFoldMax);  // loads into a piece that is being read
    again.whole();
    again.load(again.top, kBottom);
    engine.load(again.schedule());
    set(engine, p.x, drawn<float>(16, 1));
    Driver third{engine};
    third.both({0, 1});
    third.start(2);
    CHECK_THROWS(third.start(4), Hazard, "write-after-read");
}

TEST(a_fold_may_leave_its_result_where_it_goes_on_from) {
    Signal p(VectorOp::kFoldSum);
    p.in_steps();
    p.vectors[1].dst_sram = p.transfers.back().sram = kPart;
    const auto x = drawn<float>(16, 1), w = drawn<float>(6, 2), b = drawn<float>(2, 3);
    CHECK(run(p, x, w, b, "fast") == run(Signal(VectorOp::kFoldSum).whole(), x, w, b, "reference"));
}

// -- reductions of rows in parts ------------------------------------------------------------------

namespace {

// Two rows of 150 elements; reduced as a whole, or in parts of 64, 64 and 22.
struct Rows : Builder {
    Rows(VectorOp op, DType type, bool whole) : x(typed(2, 150, Role::kInput, type)),
                                                y(typed(2, 1, Role::kOutput, type)),
                                                part(typed(2, 64, Role::kIntermediate, DType::kFp32)) {
        const std::uint32_t result = tile(y, 0, 0, 2, 1, 1);
        if (whole) {
            reduce(op, tile(x, 0, 0, 2, 150), result, 0x1000);
        } else {
            const std::uint32_t left[] = {tile(part, 0, 0, 2, 32, 1), tile(part, 0, 32, 2, 32, 1)};
            reduce(op, tile(x, 0, 0, 2, 64), left[0], 0x2000);
            reduce(op, tile(x, 0, 64, 2, 64), left[1], 0x2000, left[0]);
            reduce(op, tile(x, 0, 128, 2, 22), result, 0x1000, left[1]);
        }
        store(result, 0x1000, 1);
    }

    void reduce(VectorOp op, std::uint32_t from, std::uint32_t to, std::uint32_t to_sram, std::uint32_t acc = kNone) {
        load(from, 0x0);
        vector(op, to, to_sram, from, 0x0);
        VectorRow& row = vectors.back();
        row.dtype = tensors[x].dtype;
        row.acc = acc;
        row.acc_sram = acc == kNone ? kNone : 0x2000;
    }

    std::uint32_t x, y, part;
};

}  // namespace

TEST(a_row_in_parts_is_reduced_to_the_bits_of_the_whole) {
    std::vector<float> values = drawn<float>(300, 20);
    for (float& value : values) value = widen(narrow(value * 100));
    std::fill_n(values.begin() + 150, 150, -0.0f);  // whose sum is -0, as that of all its parts
    for (const VectorOp op : {VectorOp::kReduceSum, VectorOp::kReduceMax}) {
        for (const DType type : {DType::kFp32, DType::kBf16}) {
            for (const Kernel& kernel : kernels()) {
                std::vector<std::vector<float>> found;
                for (const bool whole : {true, false}) {
                    Rows p(op, type, whole);
                    Engine engine({16384, kernel.name, true});
                    engine.load(p.schedule());
                    engine.set_tensor(p.x, matrix(values, 2, 150));
                    engine.run();
                    found.push_back(get(engine, p.y));
                }
                CHECK(std::memcmp(found[0].data(), found[1].data(), 8) == 0);
                CHECK(std::signbit(found[0][1]) && found[0][1] == 0.0f);
            }
        }
    }
}

TEST(malformed_parts_of_rows) {
    const auto refused_rows = [](const std::function<void(Rows&)>& spoil, const std::string& text) {
        Rows p(VectorOp::kReduceSum, DType::kFp32, false);
        spoil(p);
        Engine engine({16384, "auto", true});
        CHECK_THROWS(engine.load(p.schedule()), ScheduleError, text);
    };
    refused_rows([](Rows& p) { p.vectors[0].cols = 16; p.tiles[p.vectors[0].dst].cols = 16; },
                 "cols must be 1 (a reduction makes a column) or 32 (its partial results), not 16");
    refused_rows([](Rows& p) { p.tiles[p.vectors[1].src0].cols = 40; }, "src0 must have whole groups of 32 columns, not 40");
    refused_rows([](Rows& p) { p.vectors[1].acc = p.vectors[0].src0; }, "acc must be a tile of shape (2, 32), not (2, 64)");
    refused_rows([](Rows& p) { p.vectors[2].acc_sram = 0x1000; }, "acc overlaps the operation's own target");
    refused_rows([](Rows& p) { p.tensors[p.part].dtype = p.tensors[p.x].dtype = p.tensors[p.y].dtype = 2;
                               for (VectorRow& row : p.vectors) row.dtype = 2; },
                 "rows of INT8 are reduced as a whole");
    refused_rows([](Rows& p) { p.tensors[p.part].dtype = p.tensors[p.x].dtype = p.tensors[p.y].dtype = 2;
                               for (VectorRow& row : p.vectors) row.dtype = 2, row.acc = row.acc_sram = kNone; },
                 "vectors[0]: rows of INT8 are reduced as a whole");
}

TEST(malformed_folds) {
    refused([](Signal& p) { p.vectors[0].src0 = p.top; }, "vectors[0]: src0 must be 4294967295 (a fold is of pieces)");
    refused([](Signal& p) { p.vectors[0].src0_sram = 0; }, "src0_sram must be 4294967295");
    refused([](Signal& p) { p.vectors[0].taps = 0; }, "taps must be at least 1, not 0");
    refused([](Signal& p) { p.vectors[0].taps = 2; }, "beyond its operand of shape (16, 2)");
    refused([](Signal& p) { p.vectors[0].taps = 4; }, "src1 must be a tile of shape (4, 2), not (3, 2)");
    refused([](Signal& p) { p.vectors[0].src0_pieces = 9; }, "the row of pieces it refers to must be below 2, not 9");
    refused([](Signal& p) { p.pieces[1].more = 1; }, "the row of pieces it refers to must be below 2, not 2");
    refused([](Signal& p) { p.windows[0].from_row = 3; }, "beyond its tile of shape (4, 2)");
    refused([](Signal& p) { p.windows[0].cols = 3; }, "beyond its operand of shape (24, 2)");
    refused([](Signal& p) { p.pieces[0].sram = kY; }, "a piece overlaps the operation's own target");
    refused([](Signal& p) { p.vectors[0].src1 = kNone; }, "src1 must be below");
    refused([](Signal& p) { p.vectors[0].src2 = p.weights; }, "src2 must be a tile of shape (1, 2), not (3, 2)");
    refused([](Signal& p) { p.vectors[0].src2_sram = kY; }, "src2 overlaps the operation's own target");
    refused([](Signal& p) { p.vectors[0].imm1 = 1; }, "a fold has no numbers");
    refused([](Signal& p) { p.vectors[0].activation = 3; }, "activation must be below 3, not 3");
    refused([](Signal& p) { p.vectors[0].acc = p.bias; p.vectors[0].acc_sram = kBias; }, "acc must be a tile of shape (8, 2)");
    Signal narrower(VectorOp::kFoldSum, DType::kBf16);  // its acc is wider than its dst
    narrower.in_steps().vectors[1].dst_sram = kPart;
    Engine engine({4096, "auto", true});
    CHECK_THROWS(engine.load(narrower.schedule()), ScheduleError, "acc overlaps the operation's own target");
    refused([](Signal& p) { p.vectors[0].src1 = p.weights; p.vectors[0].src1_sram = kW; },
            "src1 must be 4294967295 (a fold of one source)", VectorOp::kFoldSum);
    refused([](Signal& p) { p.vectors[0].dtype = static_cast<std::uint8_t>(DType::kInt8); },
            "FOLD_SUM takes FP32 or BF16 or FP16, not INT8", VectorOp::kFoldSum);
    for (std::uint32_t VectorRow::* field : {&VectorRow::src0_pieces, &VectorRow::taps, &VectorRow::acc}) {
        refused([&](Signal& p) {
            p.vector(VectorOp::kRelu, p.result, kY, p.partial, kPart);
            p.vectors.back().*field = 0;
            if (field == &VectorRow::taps) p.vectors.back().taps = 1;
        }, "(no fold)");
    }
}
