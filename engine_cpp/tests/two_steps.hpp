// What the hazard tests share: a small program, an engine that runs it, and exact attribution.
#pragma once

#include "builder.hpp"
#include "check.hpp"
#include "minisim/errors.hpp"

// Addresses in an SRAM of 4 KiB.
constexpr std::uint32_t kA = 0x0, kB = 0x400, kC = 0x800, kFree = 0xC00;

// x (8, 16) and w (16, 8) are given; y = x w takes two steps of k = 8. Tiles of 8 x 8: 256 bytes.
struct TwoSteps : Builder {
    std::uint32_t x = tensor(8, 16, minisim::Role::kInput);
    std::uint32_t w = tensor(16, 8, minisim::Role::kWeight);
    std::uint32_t y = tensor(8, 8, minisim::Role::kIntermediate);
    std::uint32_t x0 = tile(x, 0, 0, 8, 8), x1 = tile(x, 0, 8, 8, 8);
    std::uint32_t w0 = tile(w, 0, 0, 8, 8), w1 = tile(w, 8, 0, 8, 8);
    std::uint32_t c = tile(y, 0, 0, 8, 8, 2);

    void supply(minisim::Engine& engine) const {
        set(engine, x, std::vector<float>(8 * 16, 1.0f));
        set(engine, w, std::vector<float>(16 * 8, 2.0f));
    }
};

// An engine with the program loaded and its inputs set.
struct Bench {
    explicit Bench(const TwoSteps& schedule) : engine({4096, "reference", true}) {
        engine.load(schedule.schedule());
        schedule.supply(engine);
    }
    minisim::Engine engine;
    Driver drive{engine};
};

#define CHECK_HAZARD(statement, text, the_op, the_other, the_cycle) \
    CHECK_THROWS_AND(statement, minisim::Hazard, text, { \
        CHECK_EQUAL(error.op, std::int64_t{the_op}); \
        CHECK_EQUAL(error.other, std::int64_t{the_other}); \
        CHECK_EQUAL(error.cycle, std::int64_t{the_cycle}); \
    })
