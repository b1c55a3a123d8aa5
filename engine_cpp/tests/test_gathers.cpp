// Rows that are gathered by a list: which ones are read, what they wait for, and that none lies outside the table.
#include "builder.hpp"
#include "check.hpp"
#include "minisim/errors.hpp"

using namespace minisim;

namespace {

constexpr std::uint32_t kList = 0, kRows = 64, kOut = 192;

// y = the rows of a table (3, 4), packed, that two indices say, twice.
struct Gathered : Builder {
    std::uint32_t table = tensor(3, 4, Role::kWeight, 16), ids = tensor(2, 1, Role::kInput, 4, kNone, DType::kInt32);
    std::uint32_t y = tensor(2, 4, Role::kOutput);
    std::uint32_t rows = tensor(2, 4, Role::kIntermediate, 16);
    std::uint32_t list = tile(ids, 0, 0, 2, 1), whole = tile(rows, 0, 0, 2, 4), ty = tile(y, 0, 0, 2, 4, 1);
    std::uint32_t row[2] = {};

    Gathered() {
        tensors[rows].storage = tensors[table].storage;
        tensors[rows].address = tensors[table].address;
        tensors[rows].page = 1;
        tensors[rows].indices = rows - ids;
        tensors[rows].choices = 3;
        for (std::uint32_t i = 0; i < 2; ++i) {
            row[i] = tile(rows, i, 0, 1, 4);
            tiles[row[i]].stack = row[i] - whole;
            tiles[row[i]].part = i;
        }
        load(list, kList);
        for (std::uint32_t i = 0; i < 2; ++i) {
            load(row[i], kRows + 16 * i);
            transfers.back().list = list;
            transfers.back().list_sram = kList;
        }
        vector(VectorOp::kAdd, ty, kOut, whole, kRows, whole, kRows);
        store(ty, kOut, 1);
    }
};

struct GatherBench {
    explicit GatherBench(const Gathered& schedule, std::vector<std::int32_t> ids, bool check = true)
        : engine({1024, "reference", check}) {
        engine.load(schedule.schedule());
        set<float>(engine, schedule.table, {0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23});
        set<std::int32_t>(engine, schedule.ids, ids);
    }
    Engine engine;
    Driver drive{engine};
};

template <class Change>
void gather_refused(Change change, const char* text) {
    Gathered p;
    change(p);
    Engine engine({1024, "reference", true});
    CHECK_THROWS(engine.load(p.schedule()), ScheduleError, text);
}

}  // namespace

TEST(rows_are_those_that_the_list_says) {
    const std::vector<std::vector<std::int32_t>> lists = {{2, 0}, {1, 1}, {-1, -3}};
    for (const auto& ids : lists) {
        const Gathered p;
        GatherBench bench(p, ids);
        bench.drive.both({0, 1, 2, 3, 4});
        const std::vector<float> found = get(bench.engine, p.y);
        for (std::size_t i = 0; i < 8; ++i) {
            const std::int32_t row = ids[i / 4] < 0 ? ids[i / 4] + 3 : ids[i / 4];
            CHECK_EQUAL(found[i], 2.0f * static_cast<float>(10 * row + static_cast<std::int32_t>(i % 4)));
        }
    }
}

TEST(no_list_leads_out_of_the_table) {
    for (const std::int32_t wrong : {3, -4, 2147483647, -2147483647 - 1}) {
        for (const bool check : {true, false}) {
            const Gathered p;
            GatherBench bench(p, {0, wrong}, check);
            bench.drive.both({0, 1});
            bench.drive.start(2);
            CHECK_THROWS(bench.drive.retire(2), IndexOutOfRange, "index 1 must lie in [-3, 2]");
        }
    }
}

TEST(a_gather_waits_for_its_list) {
    const Gathered p;
    GatherBench bench(p, {0, 1});
    bench.drive.start(0);
    CHECK_THROWS(bench.drive.start(1), Hazard, "LOAD (op 0)");
}

TEST(a_list_is_not_overwritten_before_it_is_read) {
    Gathered p;
    p.load(p.list, kList);
    GatherBench bench(p, {0, 1});
    bench.drive.both({0});
    bench.drive.start(1);
    bench.drive.start(2);
    bench.drive.retire(1);
    bench.drive.retire(2);
    bench.drive.both({3, 4, 5});
    Gathered q;
    std::swap(q.stream[3], q.stream.back());
    q.load(q.list, kList);
    std::swap(q.stream[3], q.stream.back());
    GatherBench other(q, {0, 1});
    other.drive.both({0});
    other.drive.start(1);
    other.drive.start(2);
    CHECK_THROWS(other.drive.start(3), Hazard, "LOAD (op 2)");
}

TEST(malformed_gathers) {
    gather_refused([](Gathered& p) { p.tensors[p.rows].choices = 0; }, "choices must be at least 1");
    gather_refused([](Gathered& p) { p.tensors[p.rows].indices = 9; }, "indices must be below 4, not 9");
    gather_refused([](Gathered& p) { p.tensors[p.rows].indices = 1; }, "must be a column of 2 INT32, as tensor 2 is not");
    gather_refused([](Gathered& p) { p.tensors[p.rows].page = 2; }, "page must be 1 (its rows are gathered), not 2");
    gather_refused([](Gathered& p) { p.tensors[p.rows].role = 3; }, "role must be 2 (its rows are gathered), not 3");
    gather_refused([](Gathered& p) { p.tensors[p.rows].keeps = 2; }, "keeps must be 0");
    gather_refused([](Gathered& p) { p.tensors[p.rows].pitch = 32; }, "of another address, dtype or padded shape");
    gather_refused([](Gathered& p) { p.tensors[p.table].choices = 3; }, "choices must be 0 (its rows are not gathered)");
    gather_refused([](Gathered& p) { p.transfers[1].list = kNone; }, "list must be below");
    gather_refused([](Gathered& p) { p.transfers[1].list = p.ty; }, "list must be the tile of the indices of");
    gather_refused([](Gathered& p) { p.transfers[1].list_sram = 4; }, "the SRAM address of list must be a multiple");
    gather_refused([](Gathered& p) { p.transfers[1].list_sram = 1024; }, "list does not fit");
    gather_refused([](Gathered& p) { p.transfers[1].list_sram = kRows; }, "list overlaps");
    gather_refused([](Gathered& p) { p.transfers[0].list = p.list; }, "list must be 4294967295 (its rows are not gathered)");
    gather_refused([](Gathered& p) { p.stream.back().row = 1; }, "rows are gathered, not scattered");
}
