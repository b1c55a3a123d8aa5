// Panels: the order in which a matmul's tiles are walked. compiler/panels.py says what they are and what is weighed.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace minisim {

// Rows (or columns) of the kept side that enter a step together. The rest follow one streamed tile later each, so that a
// step's loads do not all come at once.
constexpr std::int64_t kPanelSkew = 3;

// How much faster than on average loads must be able to come. Chosen on a 512x512x512 GEMM on npu_32x32 with 32 to 256
// tiles of SRAM and ports of 64 to 512 bytes (benchmarks/traffic.py): from there on nothing waits.
constexpr double kPanelBursts = 1.8;

// How many tiles a panel may keep free.
constexpr std::array<std::int64_t, 9> kPanelAhead{0, 1, 2, 3, 4, 6, 8, 16, 32};

// Output tiles [m0, m1) x [n0, n1).
struct Panel {
    std::int64_t m0, m1, n0, n1;

    std::int64_t height() const { return m1 - m0; }
    std::int64_t width() const { return n1 - n0; }
};

// What a panel may occupy, in bytes: the fields of `Budget` in compiler/panels.py.
struct PanelBudget {
    std::int64_t sram, a, b, c, fixed, sums, apart, ahead, most;

    std::int64_t for_sums() const { return apart != 0 ? apart : sram; }
    bool keeps_a(std::int64_t pm, std::int64_t pn) const { return pm * a + b <= pn * b + a; }
    std::int64_t spare(std::int64_t pm, std::int64_t pn) const;
    bool fits(std::int64_t pm, std::int64_t pn) const;
};

// How fast the machine is at the matmul, in cycles: the fields of `Pace` there.
struct PanelPace {
    double execute, load, store, dram, turnaround;
};

struct PanelPlan {
    std::vector<Panel> panels;
    PanelBudget budget;
};

// The panels for a grid of rows x depth x cols tiles: the fewest bytes of those that are about fastest. What it takes is
// bounded whatever the grid, but for the writing down of the panels.
PanelPlan best_panels(std::int64_t rows, std::int64_t depth, std::int64_t cols, const PanelBudget& budget,
                      const PanelPace& pace);

// Estimated bytes of A and B loaded, given that a panel finds there what was kept for it (`PanelPlan.load_bytes`).
std::int64_t panel_loads(const std::vector<Panel>& panels, const PanelBudget& budget, std::int64_t depth);

// Estimated cycles (`PanelPlan.cycles`).
double panel_cycles(const std::vector<Panel>& panels, const PanelBudget& budget, std::int64_t depth, double loaded,
                    const PanelPace& pace);

// The panels in an order in which neighbours share rows or columns and are close together.
std::vector<Panel> chained(const std::vector<Panel>& panels);

// The executes of all panels: panels in order, k ascending for each output tile.
struct PanelWalk {
    std::vector<std::int64_t> m, n, k;
};
PanelWalk walk_panels(const std::vector<Panel>& panels, const PanelBudget& budget, std::int64_t depth, bool ramped);

}  // namespace minisim
