// Panels in Python's terms. Part of bindings.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "arrays.hpp"
#include "docstrings_panels.hpp"
#include "minisim/panels.hpp"

namespace minisim {

using PanelArray = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;

inline PanelBudget budget_of(const py::object& from) {
    const auto field = [&from](const char* name) { return from.attr(name).cast<std::int64_t>(); };
    const PanelBudget found{field("sram"), field("a"),     field("b"),     field("c"),   field("fixed"),
                            field("sums"), field("apart"), field("ahead"), field("most")};
    if (found.a <= 0 || found.b <= 0) throw UsageError("tiles of a and b must have bytes");
    return found;
}

inline PanelPace pace_of(const py::object& from) {
    const auto field = [&from](const char* name) { return from.attr(name).cast<double>(); };
    return {field("execute"), field("load"), field("store"), field("dram"), field("turnaround")};
}

inline std::vector<Panel> panels_of(const PanelArray& rows) {
    if (rows.ndim() != 2 || rows.shape(1) != 4) {
        throw UsageError("panels must be rows of m0, m1, n0, n1, not " + describe(rows));
    }
    std::vector<Panel> found(static_cast<std::size_t>(rows.shape(0)));
    if (!found.empty()) std::memcpy(found.data(), rows.data(), found.size() * sizeof(Panel));
    for (const auto& p : found) {
        if (p.m0 < 0 || p.m1 <= p.m0 || p.n0 < 0 || p.n1 <= p.n0) throw UsageError("a panel must have tiles");
    }
    return found;
}

inline PanelArray rows_of_panels(const std::vector<Panel>& panels) {
    PanelArray found({static_cast<py::ssize_t>(panels.size()), py::ssize_t{4}});
    if (!panels.empty()) std::memcpy(found.mutable_data(), panels.data(), panels.size() * sizeof(Panel));
    return found;
}

inline py::array_t<std::int64_t> column_of(std::vector<std::int64_t>&& values) {
    auto* kept = new std::vector<std::int64_t>(std::move(values));
    const py::capsule keeper(kept, [](void* p) { delete static_cast<std::vector<std::int64_t>*>(p); });
    return py::array_t<std::int64_t>(static_cast<py::ssize_t>(kept->size()), kept->data(), keeper);
}

inline void define_panels(py::module_& m) {
    m.attr("PANEL_SKEW") = kPanelSkew;
    m.attr("PANEL_BURSTS") = kPanelBursts;
    m.attr("PANEL_AHEAD") = py::tuple(py::cast(kPanelAhead));
    m.def(
        "best_panels",
        [](std::int64_t rows, std::int64_t depth, std::int64_t cols, const py::object& budget, const py::object& pace) {
            if (rows <= 0 || depth <= 0 || cols <= 0) throw UsageError("a grid must have tiles");
            const auto found = best_panels(rows, depth, cols, budget_of(budget), pace_of(pace));
            return py::make_tuple(rows_of_panels(found.panels), found.budget.ahead);
        },
        "rows"_a, "depth"_a, "cols"_a, "budget"_a, "pace"_a, doc::kBestPanels);
    m.def(
        "panel_loads",
        [](const PanelArray& panels, const py::object& budget, std::int64_t depth) {
            return panel_loads(panels_of(panels), budget_of(budget), depth);
        },
        "panels"_a, "budget"_a, "depth"_a, doc::kPanelLoads);
    m.def(
        "panel_cycles",
        [](const PanelArray& panels, const py::object& budget, std::int64_t depth, double loaded,
           const py::object& pace) {
            return panel_cycles(panels_of(panels), budget_of(budget), depth, loaded, pace_of(pace));
        },
        "panels"_a, "budget"_a, "depth"_a, "loaded"_a, "pace"_a, doc::kPanelCycles);
    m.def(
        "chained_panels", [](const PanelArray& panels) { return rows_of_panels(chained(panels_of(panels))); },
        "panels"_a, doc::kChainedPanels);
    m.def(
        "walk_panels",
        [](const PanelArray& panels, const py::object& budget, std::int64_t depth, bool ramped) {
            auto found = walk_panels(panels_of(panels), budget_of(budget), depth, ramped);
            return py::make_tuple(column_of(std::move(found.m)), column_of(std::move(found.n)),
                                  column_of(std::move(found.k)));
        },
        "panels"_a, "budget"_a, "depth"_a, "ramped"_a, doc::kWalkPanels);
    m.def(
        "panel_keeps_a",
        [](const py::object& budget, std::int64_t pm, std::int64_t pn) { return budget_of(budget).keeps_a(pm, pn); },
        "budget"_a, "pm"_a, "pn"_a, doc::kPanelKeepsA);
    m.def(
        "panel_spare",
        [](const py::object& budget, std::int64_t pm, std::int64_t pn) { return budget_of(budget).spare(pm, pn); },
        "budget"_a, "pm"_a, "pn"_a, doc::kPanelSpare);
    m.def(
        "panel_fits",
        [](const py::object& budget, std::int64_t pm, std::int64_t pn) { return budget_of(budget).fits(pm, pn); },
        "budget"_a, "pm"_a, "pn"_a, doc::kPanelFits);
}

}  // namespace minisim
