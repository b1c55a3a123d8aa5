// Operands that are gathered from pieces of tiles: what they hold, what is read, and what is refused.

#include <functional>

#include "builder.hpp"
#include "check.hpp"
#include "minisim/errors.hpp"

using namespace minisim;

namespace {

constexpr std::uint32_t kTop = 0x0, kBottom = 0x40, kW = 0x80, kY = 0x100;

// A signal of 8 points with 2 channels in two tiles, 4 filters of 3 taps, one point of padding at
// either end: row i of the operand is (x[i - 1], x[i], x[i + 1]).
struct Signal : Builder {
    explicit Signal(DType dtype = DType::kFp32) : x(typed(8, 2, Role::kInput, dtype)),
                                                  w(typed(6, 4, Role::kWeight, dtype)),
                                                  y(typed(8, 4, Role::kOutput, accumulator_of(dtype))) {}

    std::uint32_t x, w, y;
    std::uint32_t top = tile(x, 0, 0, 4, 2), bottom = tile(x, 4, 0, 4, 2);
    std::uint32_t filters = tile(w, 0, 0, 6, 4), result = tile(y, 0, 0, 8, 4, 1);

    // `inner` rows of 2 columns, one after the other on both sides.
    void window(std::uint32_t at_row, std::uint32_t at_col, std::uint32_t inner,
                std::uint32_t from_row, bool more) {
        windows.push_back({1, inner, 2, at_row, at_col, 0, 1, from_row, 0, 0, 1, more});
    }

    Signal& whole() {
        load(top, kTop);
        load(bottom, kBottom);
        load(filters, kW);
        window(1, 0, 4, 0, true);  // of the top tile: as the left, the middle and the right tap
        window(0, 2, 4, 0, true);
        window(0, 4, 3, 1, false);
        window(5, 0, 3, 0, true);  // of the bottom one
        window(4, 2, 4, 0, true);
        window(3, 4, 4, 0, false);
        pieces = {{top, kTop, 0, 1}, {bottom, kBottom, 3, 0}};
        execute(top, kTop, filters, kW, result, kY);
        MatmulRow& row = matmuls.back();
        row.a = row.a_sram = kNone;
        row.a_pieces = 0;
        row.k = 6;
        row.taps = 3;
        store(result, kY, 1);
        return *this;
    }
};

constexpr std::uint64_t kBytesRead = (4 + 4 + 3 + 3 + 4 + 4) * 2;  // elements

template <class T, class Sum>
void check_values(DType dtype, const char* kernel) {
    Signal p(dtype);
    p.whole();
    Engine engine({4096, kernel, true});
    engine.load(p.schedule());
    std::vector<T> x(16), w(24);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i + 1);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<T>(static_cast<int>(i % 7) - 3);
    set(engine, p.x, x);
    set(engine, p.w, w);
    engine.run();
    const std::vector<Sum> found = get<Sum>(engine, p.y);
    for (int i = 0; i < 8; ++i) {
        for (int j = 0; j < 4; ++j) {
            Sum expected = 0;
            for (int tap = 0; tap < 3; ++tap) {
                const int point = i + tap - 1;
                for (int c = 0; c < 2 && point >= 0 && point < 8; ++c) {
                    expected += static_cast<Sum>(x[2 * point + c]) * static_cast<Sum>(w[(2 * tap + c) * 4 + j]);
                }
            }
            CHECK_EQUAL(found[4 * i + j], expected);
        }
    }
    CHECK_EQUAL(engine.stats().macs, 8u * 6 * 4);
    const std::uint64_t filters = 24 * sizeof(T), result = 32 * sizeof(Sum);
    CHECK_EQUAL(engine.stats().sram_read_bytes, kBytesRead * sizeof(T) + filters + result);
}

void refused(const std::function<void(Signal&)>& spoil, const std::string& text) {
    Signal p;
    p.whole();
    spoil(p);
    Engine engine({4096, "auto", true});
    CHECK_THROWS(engine.load(p.schedule()), ScheduleError, text);
}

}  // namespace

TEST(a_window_of_each_tap_makes_the_operand) {
    for (const char* kernel : {"reference", "fast"}) {
        check_values<float, float>(DType::kFp32, kernel);
        check_values<std::int8_t, std::int32_t>(DType::kInt8, kernel);
    }
}

TEST(outer_steps_and_the_last_of_two_windows) {
    Signal p;
    p.whole();
    // The operand's rows 0, 1, 4, 5 from rows 0, 2, 1, 3 of the tile; then row 4 once more, from row 0.
    p.windows = {{2, 2, 2, 0, 0, 4, 1, 0, 0, 1, 2, 1}, {1, 1, 2, 4, 0, 0, 1, 0, 0, 0, 1, 0}};
    p.pieces = {{p.top, kTop, 0, 0}};
    Engine engine({4096, "reference", true});
    engine.load(p.schedule());
    std::vector<float> w(24);
    w[0] = 1.0f;  // the first column of the operand is what the first filter gives
    set(engine, p.x, std::vector<float>{1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0});
    set(engine, p.w, w);
    engine.run();
    const float expected[] = {1, 3, 0, 0, 1, 4, 0, 0};
    for (std::size_t i = 0; i < 8; ++i) CHECK_EQUAL(get(engine, p.y)[4 * i], expected[i]);
}

TEST(an_operand_without_pieces_is_zero) {
    Signal p;
    p.whole();
    p.matmuls[0].a_pieces = kNone;
    Engine engine({4096, "fast", true});
    engine.load(p.schedule());
    set(engine, p.x, std::vector<float>(16, 1.0f));
    set(engine, p.w, std::vector<float>(24, 1.0f));
    engine.run();
    for (const float value : get(engine, p.y)) CHECK_EQUAL(value, 0.0f);
}

TEST(every_piece_is_checked_as_a_tile) {
    Signal p;
    p.whole();
    Engine engine({4096, "reference", true});
    engine.load(p.schedule());
    set(engine, p.x, std::vector<float>(16, 1.0f));
    set(engine, p.w, std::vector<float>(24, 1.0f));
    Driver drive{engine};
    drive.both({0});
    drive.start(1);
    CHECK_THROWS(drive.start(3), Hazard, "read-after-write hazard at cycle 3: EXECUTE (op 3) reads SRAM [0x40, 0x60)");

    Signal swapped;
    swapped.whole();
    std::swap(swapped.pieces[0].sram, swapped.pieces[1].sram);
    engine.load(swapped.schedule());
    set(engine, p.x, std::vector<float>(16, 1.0f));
    set(engine, p.w, std::vector<float>(24, 1.0f));
    CHECK_THROWS(engine.run(), Hazard, "wrong content");

    Signal again;  // loads into a piece that is being read
    again.whole();
    again.load(again.top, kBottom);
    engine.load(again.schedule());
    set(engine, p.x, std::vector<float>(16, 1.0f));
    set(engine, p.w, std::vector<float>(24, 1.0f));
    drive.both({0, 1, 2});
    drive.start(3);
    CHECK_THROWS(drive.start(5), Hazard, "write-after-read");
}

TEST(malformed_pieces) {
    constexpr std::uint32_t kMost = 0xFFFFFFFFu;
    refused([](Signal& p) { p.matmuls[0].a_pieces = 2; },
            "matmuls[0]: the row of pieces it refers to must be below 2, not 2");
    refused([](Signal& p) { p.pieces[1].more = 1; },
            "the row of pieces it refers to must be below 2, not 2");
    refused([](Signal& p) { p.pieces[0].more = 2; }, "more of a piece must be below 2, not 2");
    refused([](Signal& p) { p.pieces[0].tile = 99; }, "a piece must be below 4, not 99");
    refused([](Signal& p) { p.pieces[0].tile = p.result; p.tensors[p.y].dtype = 2; }, "must be");
    refused([](Signal& p) { p.pieces[0].sram = 4096; }, "a piece does not fit");
    refused([](Signal& p) { p.pieces[0].sram = 1; }, "must be a multiple of 64, not 1");
    refused([](Signal& p) { p.pieces[1].sram = kY; }, "overlaps the operation's own target");
    refused([](Signal& p) { p.pieces[0].window = 6; },
            "the row of windows that a piece refers to must be below 6, not 6");
    refused([](Signal& p) { p.windows[5].more = 1; },
            "the row of windows that a piece refers to must be below 6, not 6");
    refused([](Signal& p) { p.windows[0].more = 3; }, "more of a window must be below 2, not 3");
    refused([](Signal& p) { p.matmuls[0].a = p.top, p.matmuls[0].a_sram = kTop; },
            "a_pieces must be 4294967295 (a is a tile)");
    refused([](Signal& p) { p.matmuls[0].a_transposed = 1; }, "a_transposed must be 0 (a is made of pieces)");
    refused([](Signal& p) { p.matmuls[0].taps = 0; }, "taps must be equal parts of k = 6, not 0");
    refused([](Signal& p) { p.matmuls[0].taps = 4; }, "taps must be equal parts of k = 6, not 4");
    for (std::uint32_t WindowRow::* field : {&WindowRow::outer, &WindowRow::inner, &WindowRow::cols}) {
        refused([&](Signal& p) { p.windows[0].*field = 0; }, "at least one row and column");
        refused([&](Signal& p) { p.windows[0].*field = kMost; }, "a window");
    }
    for (std::uint32_t WindowRow::* field : {&WindowRow::at_row, &WindowRow::at_col, &WindowRow::at_inner,
                                             &WindowRow::from_row, &WindowRow::from_col,
                                             &WindowRow::from_inner}) {
        refused([&](Signal& p) { p.windows[0].*field = kMost; }, "a window reaches beyond its");
    }
    refused([](Signal& p) { p.windows[0].at_row = 5; }, "beyond its operand of shape (8, 6)");
    refused([](Signal& p) { p.windows[0].at_col = 5; }, "beyond its operand of shape (8, 6)");
    refused([](Signal& p) { p.windows[0].from_row = 1; }, "beyond its tile of shape (4, 2)");
    refused([](Signal& p) { p.windows[0].from_col = 1; }, "beyond its tile of shape (4, 2)");
    refused([](Signal& p) { p.windows[0].at_inner = 0; }, "must take each row of its operand once");
    refused([](Signal& p) {
        p.windows[0] = {2, 2, 2, 0, 0, 1, 1, 0, 0, 0, 1, 1};  // the second two rows begin within the first two
    }, "must take each row of its operand once");
    refused([](Signal& p) {
        p.windows[0] = {3, 2, 2, 0, 0, 0x80000000u, 1, 0, 0, 0x80000000u, 1, 1};  // twice 2^31 is 0 in 32 bits
    }, "a window reaches beyond its");
}
