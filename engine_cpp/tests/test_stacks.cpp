// Tiles in a stack: matmuls write its rows one after the other, a vector operation reads it as a whole, matmuls its rows.
#include "builder.hpp"
#include "check.hpp"
#include "lowered.hpp"
#include "minisim/errors.hpp"
#include "minisim/walk.hpp"

using namespace minisim;

namespace {

constexpr std::uint32_t kX = 0, kW = 128, kU = 192, kS = 256, kT = 320, kY = 384, kRow = 12;

// Two heads: row h of s is x[h] w, of 3 elements (12 bytes: not aligned); t = s + s; y[h] = t[h] u.
struct Stacked : Builder {
    std::uint32_t x = tensor(2, 2, Role::kInput), w = tensor(2, 3, Role::kWeight), u = tensor(3, 2, Role::kWeight);
    std::uint32_t of_s = tensor(2, 3, Role::kIntermediate), of_t = tensor(2, 3, Role::kIntermediate);
    std::uint32_t y = tensor(2, 2, Role::kOutput);
    std::uint32_t tw = tile(w, 0, 0, 2, 3), tu = tile(u, 0, 0, 3, 2);
    std::uint32_t s = tile(of_s, 0, 0, 2, 3, 2), t = tile(of_t, 0, 0, 2, 3, 1);
    std::uint32_t tx[2] = {tile(x, 0, 0, 1, 2), tile(x, 1, 0, 1, 2)};
    std::uint32_t sh[2] = {in(s, of_s, 0), in(s, of_s, 1)}, th[2] = {in(t, of_t, 0), in(t, of_t, 1)};
    std::uint32_t ty[2] = {tile(y, 0, 0, 1, 2, 1), tile(y, 1, 0, 1, 2, 1)};

    Stacked() {
        for (std::uint32_t h = 0; h < 2; ++h) load(tx[h], kX + 64 * h);
        load(tw, kW);
        load(tu, kU);
    }
    std::uint32_t in(std::uint32_t stack, std::uint32_t tensor, std::uint32_t row) {
        const std::uint32_t found = tile(tensor, row, 0, 1, 3, 1);
        tiles[found].stack = found - stack;
        tiles[found].part = row;
        return found;
    }
    std::uint32_t score(std::uint32_t h) { return execute(tx[h], kX + 64 * h, tw, kW, sh[h], kS + kRow * h); }
    std::uint32_t twice() { return vector(VectorOp::kAdd, t, kT, s, kS, s, kS); }
    std::uint32_t product(std::uint32_t h) { return execute(th[h], kT + kRow * h, tu, kU, ty[h], kY + 64 * h); }
    void rest() {
        twice();
        for (std::uint32_t h = 0; h < 2; ++h) product(h);
        for (std::uint32_t h = 0; h < 2; ++h) store(ty[h], kY + 64 * h, 1);
    }
};

struct Bench {
    explicit Bench(const Stacked& schedule) : engine({1024, "reference", true}) {
        engine.load(schedule.schedule());
        set<float>(engine, schedule.x, {1, 2, 3, 4});
        set<float>(engine, schedule.w, {1, 0, 2, 0, 1, 3});
        set<float>(engine, schedule.u, {1, 0, 0, 1, 1, 1});
    }
    void all() {
        for (std::uint32_t op = 0; op < engine.schedule().stream.size; ++op) drive.both({op});
    }
    Engine engine;
    Driver drive{engine};
};

template <class Change>
void refused(Change change, const char* text) {
    Stacked p;
    p.score(0);
    p.score(1);
    p.rest();
    change(p);
    Engine engine({1024, "reference", true});
    CHECK_THROWS(engine.load(p.schedule()), ScheduleError, text);
}

}  // namespace

TEST(rows_of_a_stack) {
    Stacked p;
    p.score(0);
    p.score(1);
    p.rest();
    Bench bench(p);
    bench.all();
    CHECK(get(bench.engine, p.y) == std::vector<float>({18, 20, 42, 44}));
}

// A stack that is not complete goes to DRAM and comes back, as partial sums do.
TEST(a_stack_is_spilled_between_its_rows) {
    Stacked p;
    p.score(0);
    p.store(p.s, kS, 1);
    p.load(p.s, kS, 1);
    p.score(1);
    p.rest();
    Bench bench(p);
    bench.all();
    CHECK(get(bench.engine, p.y) == std::vector<float>({18, 20, 42, 44}));
}

TEST(rows_may_be_in_flight_together_but_in_their_order) {
    Stacked p;
    p.score(0);
    p.score(1);
    p.twice();
    Bench bench(p);
    for (std::uint32_t op = 0; op < 4; ++op) bench.drive.both({op});
    bench.drive.start(4);
    bench.drive.start(5);
    CHECK_THROWS(bench.drive.start(6), Hazard, "VECTOR (op 6)");  // the second row is not there yet
}

TEST(the_second_row_first) {
    Stacked p;
    p.score(1);
    p.score(0);
    Bench bench(p);
    for (std::uint32_t op = 0; op < 4; ++op) bench.drive.both({op});
    CHECK_THROWS(bench.drive.start(4), Hazard, "never written");
}

TEST(a_row_twice) {
    Stacked p;
    p.score(0);
    p.score(0);
    p.twice();
    Bench bench(p);
    for (std::uint32_t op = 0; op < 6; ++op) bench.drive.both({op});
    CHECK_THROWS(bench.drive.start(6), Hazard, "wrong content");
}

TEST(half_a_stack_is_not_read) {
    Stacked p;
    p.score(0);
    p.twice();
    Bench bench(p);
    for (std::uint32_t op = 0; op < 5; ++op) bench.drive.both({op});
    CHECK_THROWS(bench.drive.start(5), Hazard, "wrong content");
}

TEST(a_row_of_another_stack) {
    Stacked p;
    p.score(0);
    p.score(1);
    p.execute(p.th[0], kS, p.tu, kU, p.ty[0], kY);  // t's row where s lies
    Bench bench(p);
    for (std::uint32_t op = 0; op < 6; ++op) bench.drive.both({op});
    CHECK_THROWS(bench.drive.start(6), Hazard, "wrong content");
}

// The walk: between two rows of a stack others need its place, so it is stored as it is and comes back.
TEST(a_stack_makes_room) {
    Lowered x;
    for (int i = 0; i < 4; ++i) x.tensor();
    const std::uint32_t stack = x.tile(2, 2), a = x.tile(0), b = x.tile(1), other = x.tile(0), end = x.tile(3, 1);
    x.tiles[stack].rows = 32;
    std::uint32_t row[2];
    for (std::uint32_t h = 0; h < 2; ++h) {
        row[h] = x.tile(2, 1);
        x.tiles[row[h]].row = x.tiles[stack].row + 16 * h;
        x.tiles[row[h]].stack = row[h] - stack;
        x.tiles[row[h]].part = h;
    }
    const auto multiply = [&](std::uint32_t left, std::uint32_t c) {
        for (const std::uint32_t tile : {left, b}) x.uop(Opcode::kLoad, tile);
        x.uop(Opcode::kExecute, x.matmul(left, b, c, 0, true));
    };
    multiply(a, row[0]);
    multiply(other, end);
    x.uop(Opcode::kStore, end);
    multiply(a, row[1]);
    x.uop(Opcode::kStore, stack);
    const auto found = x.walked(4096);
    std::vector<std::uint32_t> versions;
    for (const TransferRow& each : found.transfers) {
        if (each.tile == stack) versions.push_back(each.version);
    }
    CHECK(versions == std::vector<std::uint32_t>({1, 1, 2}));
    CHECK_EQUAL(found.matmuls[2].c_sram, found.transfers[found.transfers.size() - 1].sram + 1024);
    CHECK_EQUAL(found.live, 0u);
    x.tiles[row[1]].stack = 100;
    CHECK_THROWS(x.view().check(), ScheduleError, "a tile lies in a stack that does not exist");
    x.tiles[row[1]].stack = row[1] - row[0];
    CHECK_THROWS(x.view().check(), ScheduleError, "a tile does not lie in its stack");
}

namespace {

// A state of 5 rows of 4, of which 5 are given, in pages of 2: a tile of all is loaded page by page; y = it + it.
struct Paged : Builder {
    std::uint32_t x = tensor(6, 4, Role::kState), y = tensor(5, 4, Role::kOutput);
    std::uint32_t whole = tile(x, 0, 0, 5, 4), ty = tile(y, 0, 0, 5, 4, 1);
    std::uint32_t page[3] = {};

    Paged() {
        tensors[x].page = 2;
        for (std::uint32_t i = 0; i < 3; ++i) {
            page[i] = tile(x, 2 * i, 0, i < 2 ? 2 : 1, 4);
            tiles[page[i]].stack = page[i] - whole;
            tiles[page[i]].part = i;
        }
    }
    std::uint32_t load_page(std::uint32_t i) { return load(page[i], 32 * i); }  // 16 bytes a row: not aligned
    void rest() {
        vector(VectorOp::kAdd, ty, 128, whole, 0, whole, 0);
        store(ty, 128, 1);
    }
};

struct PagedBench {
    explicit PagedBench(const Paged& schedule) : engine({1024, "reference", true}) {
        engine.load(schedule.schedule());
        const std::vector<float> rows = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
        engine.set_tensor(schedule.x, matrix(rows, 5, 4));
    }
    Engine engine;
    Driver drive{engine};
};

template <class Change>
void page_refused(Change change, const char* text) {
    Paged p;
    for (std::uint32_t i = 0; i < 3; ++i) p.load_page(i);
    p.rest();
    change(p);
    Engine engine({1024, "reference", true});
    CHECK_THROWS(engine.load(p.schedule()), ScheduleError, text);
}

}  // namespace

TEST(pages_are_loaded_one_by_one) {
    Paged p;
    for (std::uint32_t i = 0; i < 3; ++i) p.load_page(i);
    p.rest();
    PagedBench bench(p);
    bench.drive.start(0);
    bench.drive.start(1);  // in flight together
    bench.drive.retire(0);
    bench.drive.retire(1);
    bench.drive.both({2, 3, 4});
    const std::vector<float> found = get(bench.engine, p.y);
    CHECK_EQUAL(found.size(), std::size_t{20});
    for (std::size_t i = 0; i < found.size(); ++i) CHECK_EQUAL(found[i], 2.0f * static_cast<float>(i));
}

TEST(a_page_is_missing) {
    Paged p;
    p.load_page(0);
    p.load_page(1);
    p.rest();
    PagedBench bench(p);
    bench.drive.both({0, 1});
    CHECK_THROWS(bench.drive.start(2), Hazard, "wrong content");
}

TEST(pages_in_another_order) {
    for (const auto& order : {std::vector<std::uint32_t>{1, 0, 2}, {0, 2, 1}, {0, 1, 1}}) {
        Paged p;
        for (const std::uint32_t i : order) p.load_page(i);
        PagedBench bench(p);
        CHECK_THROWS(bench.drive.both({0, 1, 2}), Hazard, "hazard");
    }
}

TEST(the_last_page_is_in_flight) {
    Paged p;
    for (std::uint32_t i = 0; i < 3; ++i) p.load_page(i);
    p.rest();
    PagedBench bench(p);
    bench.drive.both({0, 1});
    bench.drive.start(2);
    CHECK_THROWS(bench.drive.start(3), Hazard, "VECTOR (op 3)");
}

TEST(malformed_pages) {
    page_refused([](Paged& p) { p.transfers[0].tile = p.whole; }, "transfers[0]: tile must lie in one page of 2 rows");
    page_refused([](Paged& p) { p.tensors[p.x].page = 3; }, "must lie in one page of 3 rows");
    page_refused([](Paged& p) { p.tensors[p.x].page = 0; }, "a stack must be a tile by itself, of whole tiles");
    page_refused([](Paged& p) { p.tiles[p.page[1]].rows = 1; }, "a stack must be a tile by itself, of whole tiles");  // a gap
    page_refused([](Paged& p) { p.tiles[p.page[0]].part = 1; }, "a stack must be a tile by itself, of whole tiles");
    page_refused([](Paged& p) { p.tiles[p.whole].part = 1; }, "part must be 0 (it lies in no stack), not 1");
    page_refused([](Paged& p) { p.transfers[1].sram = 48; }, "must be a multiple of 64 and 32 more, not 48");
}

// The walk: each page is a transfer, on the way in and out; a stack that made room is loaded again, page by page.
TEST(pages_come_again) {
    Lowered x;
    for (int i = 0; i < 4; ++i) x.tensor();
    x.tensors[0].page = 8;
    const std::uint32_t whole = x.tile(0), b = x.tile(1), other = x.tile(2), y = x.tile(3, 1), z = x.tile(3, 1), v = x.tile(3, 1);
    std::uint32_t half[2];
    for (std::uint32_t h = 0; h < 2; ++h) {
        half[h] = x.tile(0);
        x.tiles[half[h]] = {0, x.tiles[whole].row + 8 * h, 0, 8, 16, 0, half[h] - whole, h, 0};
    }
    const auto multiply = [&](std::uint32_t left, std::uint32_t c) {
        for (const std::uint32_t tile : {left, b}) x.uop(Opcode::kLoad, tile);
        x.uop(Opcode::kExecute, x.matmul(left, b, c, 0, true));
        x.uop(Opcode::kStore, c);
    };
    multiply(whole, y);
    multiply(other, z);
    multiply(whole, v);
    const auto loaded = [&](std::uint64_t sram) {
        std::vector<std::uint32_t> found;
        for (const TransferRow& each : x.walked(sram).transfers) {
            if (each.tile == half[0] || each.tile == half[1]) found.push_back(each.tile);
            CHECK(each.tile != whole);
        }
        return found;
    };
    CHECK(loaded(8192) == std::vector<std::uint32_t>({half[0], half[1]}));
    CHECK(loaded(3072) == std::vector<std::uint32_t>({half[0], half[1], half[0], half[1]}));
}

TEST(malformed_stacks) {
    refused([](Stacked& p) { p.matmuls[1].c_sram = kS + 16; },
            "matmuls[1]: the SRAM address of c must be a multiple of 64 and 12 more, not 272");
    refused([](Stacked& p) { p.tiles[p.sh[1]].stack = 1000; }, "stack must be below");
    refused([](Stacked& p) { p.tiles[p.sh[1]].stack = p.sh[1] - p.t; }, "a stack must be a tile by itself, of whole tiles");
    refused([](Stacked& p) { p.tiles[p.sh[1]].stack = p.sh[1] - p.sh[0]; }, "a stack must be a tile by itself");
    refused([](Stacked& p) { p.tiles[p.s].final = 1; },
            "matmuls[0]: the final version of the stack of c must be 2 (its tiles are made one after the other), not 1");
    refused([](Stacked& p) { p.vectors[0].src0 = p.sh[0]; }, "vectors[0]: src0 must be a tile by itself");
    refused([](Stacked& p) { p.vectors[0].dst = p.th[0]; p.vectors[0].rows = 1; }, "vectors[0]: dst must be a tile by itself");
    refused([](Stacked& p) { p.transfers[4].tile = p.sh[0]; }, "transfers[4]: tile must be a tile by itself");
    refused([](Stacked& p) { p.matmuls[2].b = p.th[0]; p.matmuls[2].b_sram = kT; }, "matmuls[2]: b must be a tile by itself");
}
