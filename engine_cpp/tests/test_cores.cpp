// Several cores: an SRAM for each, one DRAM, and what they must wait for of each other.

#include <functional>

#include "two_steps.hpp"

using namespace minisim;

namespace {

// Core 0 stores y = relu(x); core 1 loads it into its own SRAM, and stores z = relu(y).
struct Relay : Builder {
    std::uint32_t x = tensor(8, 8, Role::kInput);
    std::uint32_t y = tensor(8, 8, Role::kIntermediate);
    std::uint32_t z = tensor(8, 8, Role::kOutput);
    std::uint32_t tx = tile(x, 0, 0, 8, 8);
    std::uint32_t ty = tile(y, 0, 0, 8, 8, 1);
    std::uint32_t tz = tile(z, 0, 0, 8, 8, 1);

    Relay() {
        load(tx, kA);
        vector(VectorOp::kRelu, ty, kB, tx, kA);
        store(ty, kB, 1);
        core = 1;
        load(ty, kA, 1);
        vector(VectorOp::kRelu, tz, kB, ty, kA);
        store(tz, kB, 1);
        syncs.push_back({0, static_cast<std::uint8_t>(Queue::kStore), 0, 1});
        stream[3].sync = 0;
    }
};

struct TwoCores {
    explicit TwoCores(const Relay& schedule) : engine({4096, "reference", true, 0, 2}) {
        engine.load(schedule.schedule());
        set(engine, schedule.x, std::vector<float>(64, 3.0f));
    }
    Engine engine;
    Driver drive{engine};
};

void refused(const std::function<void(Relay&)>& spoil, const std::string& text) {
    Relay relay;
    spoil(relay);
    Engine engine({4096, "reference", true, 0, 2});
    CHECK_THROWS(engine.load(relay.schedule()), ScheduleError, text);
}

}  // namespace

TEST(cores_have_an_sram_each_and_meet_in_dram) {
    const Relay relay;
    TwoCores bench(relay);
    bench.drive.both({0, 1, 2, 3, 4, 5});
    CHECK(bench.engine.finished());
    for (const float value : get(bench.engine, relay.z)) CHECK_EQUAL(value, 3.0f);
}

// Nothing orders them, but they are not the same bytes.
TEST(the_same_address_on_another_core_is_no_conflict) {
    Relay first;
    first.stream.resize(1);
    first.core = 1;
    const std::uint32_t other = first.load(first.tx, kA);
    Engine engine({4096, "reference", true, 0, 2});
    engine.load(first.schedule());
    set(engine, first.x, std::vector<float>(64, 3.0f));
    Driver drive{engine};
    drive.start(0);
    drive.start(other);
    drive.retire(other);
    drive.retire(0);
    CHECK(engine.finished());
}

TEST(a_load_before_the_other_cores_store_began_reads_nothing) {
    const Relay relay;
    TwoCores bench(relay);
    bench.drive.both({0, 1});
    CHECK_HAZARD(bench.drive.start(3),
            "never written hazard at cycle 4: LOAD (op 3 of core 1) reads DRAM tensor 1 "
            "[0:8, 0:8] that nothing wrote, for version 1 of tensor 1 [0:8, 0:8]",
                 3, -1, 4);
}

TEST(a_load_beside_the_other_cores_store_is_a_hazard) {
    const Relay relay;
    TwoCores bench(relay);
    bench.drive.both({0, 1});
    bench.drive.start(2);
    CHECK_HAZARD(bench.drive.start(3),
                 "read-after-write hazard at cycle 5: LOAD (op 3 of core 1) reads DRAM tensor 1 "
                 "[0:8, 0:8], which STORE (op 2), still in flight, writes",
                 3, 2, 5);
}

// Core 0 stores the tile again while core 1 still loads it.
TEST(a_store_beside_the_other_cores_load_is_a_hazard) {
    Relay relay;
    relay.core = 0;
    const std::uint32_t again = relay.store(relay.ty, kB, 1);
    TwoCores bench(relay);
    bench.drive.both({0, 1, 2});
    bench.drive.start(3);
    CHECK_HAZARD(bench.drive.start(again),
                 "write-after-read hazard at cycle 7: STORE (op 6) writes DRAM tensor 1 "
                 "[0:8, 0:8], which LOAD (op 3 of core 1), still in flight, reads",
                 again, 3, 7);
}

// Of two readers on two cores the younger has retired: it must not hide the older one.
TEST(a_reader_of_another_core_does_not_hide_one_in_flight) {
    Relay relay;
    relay.core = 0;
    const std::uint32_t other = relay.load(relay.ty, kFree, 1);
    const std::uint32_t again = relay.store(relay.ty, kB, 1);
    TwoCores bench(relay);
    bench.drive.both({0, 1, 2});
    bench.drive.start(3);
    bench.drive.both({other});
    CHECK_HAZARD(bench.drive.start(again),
            "write-after-read hazard at cycle 9: STORE (op 7) writes DRAM tensor 1 [0:8, "
            "0:8], which LOAD (op 3 of core 1), still in flight, reads", again, 3, 9);
}

TEST(queues_of_two_cores_are_in_order_each_for_itself) {
    Relay relay;
    const std::uint32_t early = relay.load(relay.tx, kFree);
    TwoCores bench(relay);
    CHECK_THROWS(bench.drive.start(early), ScheduleError,
            "LOAD (op 6 of core 1) started out of order: the next of its queue is LOAD "
            "(op 3 of core 1)");
}

TEST(cores_and_syncs_are_checked) {
    refused([](Relay& r) { r.stream[4].core = 2; }, "stream[4]: core must be below 2, not 2");
    refused([](Relay& r) { r.stream[3].sync = 1; },
            "stream[3]: the row of syncs it refers to must be below 1, not 1");
    refused([](Relay& r) { r.syncs[0].more = 1; },
            "stream[3]: the row of syncs it refers to must be below 1, not 1");
    refused([](Relay& r) { r.syncs[0].more = 2; }, "syncs[0]: more must be below 2, not 2");
    refused([](Relay& r) { r.syncs[0].core = 2; }, "syncs[0]: core must be below 2, not 2");
    refused([](Relay& r) { r.syncs[0].queue = 4; }, "syncs[0]: queue must be below 4, not 4");
    refused([](Relay& r) { r.syncs[0].count = 2; },
            "syncs[0]: count must be at most 1, the operations of that queue before stream[3], not 2");
    CHECK_THROWS(Engine({64, "auto", true, 0, 0}), UsageError, "cores must be from 1 to 64, not 0");
    CHECK_THROWS(Engine({64,
            "auto", true, 0, 65}), UsageError, "cores must be from 1 to 64, not 65");
}
