// The arena's bounds, the DRAM's views and the copies between them.

#include <cmath>

#include "builder.hpp"
#include "check.hpp"
#include "minisim/errors.hpp"

using namespace minisim;

TEST(arena_is_aligned_and_bounded) {
    Arena arena(1000);
    CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(arena.at(0, 1)) % kAlignment, 0u);
    CHECK(arena.at(999, 1) == arena.at(0, 1) + 999);
    arena.at(1000, 0);
    CHECK_THROWS(arena.at(999, 2), ScheduleError,
            "SRAM has 1000 bytes: 2 bytes at address 999 do not fit");
    CHECK_THROWS(arena.at(1001, 0), ScheduleError,
            "SRAM has 1000 bytes: 0 bytes at address 1001 do not fit");
    CHECK_THROWS(arena.at(8, UINT64_MAX), ScheduleError,
            "SRAM has 1000 bytes: 18446744073709551615 bytes at address 8 do not fit");
}

TEST(memory_starts_as_nan) {
    Buffer buffer(64);
    const auto* values = reinterpret_cast<const float*>(buffer.data());
    for (int i = 0; i < 16; ++i) CHECK(std::isnan(values[i]));
    buffer.data()[0] = std::byte{1};
    buffer.poison();
    CHECK(buffer.data()[0] == std::byte{0xFF});
}

TEST(sram_size_must_be_addressable) {
    CHECK_THROWS(Engine({0,
            "auto", true}), UsageError, "sram_bytes must be from 1 to 4294967296, not 0");
    CHECK_THROWS(Engine({(std::uint64_t{1} << 32) + 1,
            "auto", true}), UsageError, "sram_bytes must be from 1 to 4294967296, not 4294967297");
}

TEST(views_share_a_buffer) {
    Builder b;
    b.tensor(4, 6, Role::kInput, 24, 5);
    b.tensor(8, 3, Role::kIntermediate, 12, 5);
    b.tensor(4, 6, Role::kOutput);
    Engine engine({64, "auto", true});
    engine.load(b.schedule());
    std::vector<float> values(24);
    for (std::size_t i = 0; i < 24; ++i) values[i] = static_cast<float>(i);
    set(engine, 0, values);
    CHECK(get(engine, 1) == values);
    CHECK(engine.tensor_view(0).buffer == engine.tensor_view(1).buffer);
    CHECK(engine.tensor_view(0).buffer != engine.tensor_view(2).buffer);
    engine.reset();
    CHECK(get(engine, 1) == values);
    for (const float x : get(engine, 2)) CHECK(std::isnan(x));
}

TEST(views_must_fit) {
    Builder padded;
    padded.tensor(4, 6, Role::kInput, 64, 5);
    padded.tensor(8, 3, Role::kIntermediate, 12, 5);
    Engine engine({64, "auto", true});
    CHECK_THROWS(engine.load(padded.schedule()), ScheduleError,
            "tensors[1]: it shares storage 5 with a tensor of another address, dtype or "
            "padded shape");

    Builder moved;
    moved.tensor(4, 16, Role::kInput, 64, 5);
    moved.tensor(4, 16, Role::kIntermediate, 64, 5);
    moved.tensors[1].address += 64;
    CHECK_THROWS(engine.load(moved.schedule()), ScheduleError,
            "tensors[1]: it shares storage 5 with a tensor of another address, dtype or "
            "padded shape");
}

TEST(the_users_data_may_not_be_stored_to) {
    Builder b;
    b.tensor(4, 16, Role::kInput, 64, 5);
    const std::uint32_t view = b.tensor(2, 32, Role::kIntermediate, 128, 5);
    const std::uint32_t t = b.tile(view, 0, 0, 2, 32);
    b.load(t, 0);
    b.store(t, 0, 0);
    Engine engine({1024, "auto", true});
    CHECK_THROWS(engine.load(b.schedule()), ScheduleError,
            "stream[1]: STORE into tensor 1 [0:2, 0:32], which lies in an input or a "
            "weight: those belong to the user");
}

// Rows lie a pitch apart in DRAM and together in SRAM; padding stays what it was.
TEST(copies_go_row_by_row) {
    Builder b;
    const std::uint32_t x = b.tensor(5, 7, Role::kInput);
    const std::uint32_t y = b.tensor(5, 7, Role::kIntermediate);
    const std::uint32_t from = b.tile(x, 1, 2, 3, 4);
    const std::uint32_t to = b.tile(y, 1, 2, 3, 4, 1);
    b.load(from, 0x40);
    b.vector(VectorOp::kRelu, to, 0x80, from, 0x40);
    b.store(to, 0x80, 1);
    Engine engine({256, "auto", true});
    engine.load(b.schedule());
    std::vector<float> values(35);
    for (std::size_t i = 0; i < 35; ++i) values[i] = static_cast<float>(i);
    set(engine, x, values);
    engine.run();
    const auto found = get(engine, y);
    for (std::size_t i = 0; i < 5; ++i) {
        for (std::size_t j = 0; j < 7; ++j) {
            const bool inside = i >= 1 && i < 4 && j >= 2 && j < 6;
            if (inside) CHECK_EQUAL(found[i * 7 + j], values[i * 7 + j]);
            else CHECK(std::isnan(found[i * 7 + j]));
        }
    }
    const auto* raw = reinterpret_cast<const float*>(engine.tensor_view(y).buffer->data());
    for (std::size_t i = 0; i < 5; ++i) {
        for (std::size_t j = 7; j < 16; ++j) CHECK(std::isnan(raw[i * 16 + j]));
    }
    CHECK_EQUAL(engine.stats().dram_read_bytes, 48u);
    CHECK_EQUAL(engine.stats().dram_write_bytes, 48u);
    CHECK_EQUAL(engine.stats().sram_read_bytes, 96u);
    CHECK_EQUAL(engine.stats().sram_write_bytes, 96u);
    CHECK_EQUAL(engine.stats().sram_peak_bytes, 0x80u + 48u);
}

TEST(set_tensor_takes_any_steps) {
    Builder b;
    b.tensor(2, 3, Role::kInput);
    Engine engine({64, "auto", true});
    engine.load(b.schedule());
    const float columns[] = {1, 4, 2, 5, 3, 6};  // column-major
    engine.set_tensor(0, {reinterpret_cast<const std::byte*>(columns), 2, 3, 4, 8});
    CHECK((get(engine, 0) == std::vector<float>{1, 2, 3, 4, 5, 6}));
    engine.set_tensor(0, {reinterpret_cast<const std::byte*>(columns + 5), 2, 3, -12, -4});
    CHECK((get(engine, 0) == std::vector<float>{6, 3, 5, 2, 4, 1}));
    CHECK_THROWS(engine.set_tensor(0, {nullptr, 3, 2, 8, 4}), UsageError,
            "tensor 0 has shape (2, 3), not (3, 2)");
    CHECK_THROWS(engine.set_tensor(1, {nullptr, 3, 2, 8, 4}), UsageError,
            "tensor must be below 1, not 1");
}

TEST(a_tensor_in_use_is_not_set) {
    Builder b;
    const std::uint32_t x = b.tensor(2, 3, Role::kInput);
    b.load(b.tile(x, 0, 0, 2, 3), 0);
    Engine engine({64, "auto", true});
    engine.load(b.schedule());
    set(engine, x, std::vector<float>(6));
    Driver{engine}.start(0);
    CHECK_THROWS(set(engine, x, std::vector<float>(6)), UsageError,
            "a tensor cannot be set while operations are in flight");
}
