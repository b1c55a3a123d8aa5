// The native event model in Python's terms. Part of bindings.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "arrays.hpp"
#include "bindings_dram.hpp"
#include "docstrings_timing.hpp"
#include "minisim/alongside.hpp"
#include "minisim/shared_engine.hpp"
#include "minisim/timing.hpp"
#include "minisim/way_back.hpp"

namespace minisim {

// A schedule's tables, borrowed: they are read-only, and `kept` keeps them alive.
struct BorrowedSchedule {
    std::vector<py::array> kept;
    Schedule schedule;
    std::uint32_t cores;

    explicit BorrowedSchedule(const py::object& given)
        : cores(given.attr("cores").cast<std::uint32_t>()) {
        schedule.stream = borrow<StreamRow>(given, "stream");
        schedule.transfers = borrow<TransferRow>(given, "transfers");
        schedule.matmuls = borrow<MatmulRow>(given, "matmuls");
        schedule.vectors = borrow<VectorRow>(given, "vectors");
        schedule.tiles = borrow<TileRow>(given, "tiles");
        schedule.tensors = borrow<TensorRow>(given, "tensors");
        schedule.syncs = borrow<SyncRow>(given, "syncs");
        schedule.pieces = borrow<PieceRow>(given, "pieces");
        schedule.windows = borrow<WindowRow>(given, "windows");
        schedule.convolutions = borrow<ConvolutionRow>(given, "convolutions");
    }

    template <class Row>
    Table<Row> borrow(const py::object& given, const char* name) {
        kept.push_back(py::array(given.attr(name)));
        return borrowed_rows<Row>(kept.back(), name);
    }
};

inline BurstRules burst_rules_of(const py::object& rules) {
    BurstRules found;
#define MINISIM_READ_NUMBER(name) found.name = rules.attr(#name).cast<std::int64_t>();
    MINISIM_BURST_NUMBERS(MINISIM_READ_NUMBER)
#undef MINISIM_READ_NUMBER
    if (found.width < 1 || found.outstanding < 0) throw UsageError("a beat has at least one byte");
    return found;
}

inline MemoryMachine memory_machine(const py::object& machine) {
    MemoryMachine found;
#define MINISIM_READ_NUMBER(name, usual) found.name = machine.attr(#name).cast<std::int64_t>();
    MINISIM_MEMORY_NUMBERS(MINISIM_READ_NUMBER)
#undef MINISIM_READ_NUMBER
    const bool whole = found.dram_cycles >= 1 && found.core_cycles >= 1 && found.bytes >= 1 &&
                       found.cycles >= 1 && found.l2_sets >= 0 && found.l2_ways >= 1 &&
                       found.l2_line >= 1 && found.l2_width >= 1 && found.noc_rate >= 0 &&
                       found.noc_core_rate >= 0;
    if (!whole) throw UsageError("a memory has at least one cycle, byte and way");
    const py::object part = machine.attr("part");
    if (!part.is_none()) found.part = dram_part(part);
    return found;
}

// A machine with the attributes of a minisim.hwmodel.native.TimingMachine.
inline TimingMachine timing_machine(const py::object& machine) {
    const auto number = [&](const char* name) { return machine.attr(name).cast<std::int64_t>(); };
    TimingMachine found;
    found.launch = number("launch");
    found.pace = number("pace");
    found.depth = static_cast<std::size_t>(number("depth"));
    found.channels = static_cast<std::size_t>(number("channels"));
    found.in_flight = number("in_flight");
    found.shared = machine.attr("shared").cast<bool>();
    found.store_handshake = number("store_handshake");
    found.gap = number("gap");
    found.completion = number("completion");
    found.memory = memory_machine(machine);
    const py::object load = machine.attr("load_bursts"), store = machine.attr("store_bursts");
    if (!load.is_none()) {
        found.load_bursts = burst_rules_of(load);
        found.store_bursts = burst_rules_of(store);
    }
    return found;
}

// Makes an engine do each step.
class EngineSteps : public StepListener {
public:
    explicit EngineSteps(SharedEngine& engine) : engine_(engine) {}
    void steps(const std::uint32_t* events, const Cycle* cycles, std::size_t count) override {
        engine_.replay(events, cycles, count);
    }

private:
    SharedEngine& engine_;
};

// A descriptor's planes are operations of one queue, one behind the other.
inline std::vector<std::uint32_t> planes_of(const std::optional<py::array>& planes,
                                            const Schedule& schedule) {
    if (!planes) return {};
    const auto* found = column<std::uint32_t>(*planes, "planes");
    const std::size_t size = schedule.stream.size;
    bool fits = static_cast<std::size_t>(planes->size()) == size;
    for (std::size_t first = 0; fits && first < size; first += found[first]) {
        fits = found[first] > 0 && found[first] <= size - first;
        for (std::size_t i = first + 1; fits && i < first + found[first]; ++i) {
            fits = found[i] == 0 && schedule.lane(i) == schedule.lane(first);
        }
    }
    if (!fits) throw UsageError("planes must count the operations of each descriptor");
    return {found, found + size};
}

inline py::tuple classify_schedule(const py::object& given,
                                   const std::optional<py::array>& planes, std::int64_t period) {
    if (period < 1) throw UsageError("period must be at least 1");
    const BorrowedSchedule borrowed(given);
    const auto each = planes_of(planes, borrowed.schedule);
    const auto sram_bytes = given.attr("sram_bytes").cast<std::uint64_t>();
    Classes classes;
    {
        const py::gil_scoped_release without_gil;
        check_references(borrowed.schedule, borrowed.cores);
        classes = classify(borrowed.schedule, each, period, sram_bytes);
    }
    return py::make_tuple(array_of(std::move(classes.of)), array_of(std::move(classes.first)));
}

// Six numbers for each class.
inline std::vector<OpCost> rows_of(const py::array& costs) {
    const auto* number = column<std::int64_t>(costs, "costs");
    if (costs.size() % 6 != 0) throw UsageError("costs must have six numbers for each class");
    std::vector<OpCost> rows;
    for (py::ssize_t i = 0; i < costs.size(); i += 6) {
        rows.push_back({number[i], number[i + 1], number[i + 2], number[i + 3], number[i + 4],
                        number[i + 5]});
        const bool negative = std::any_of(number + i, number + i + 6, [](Cycle x) { return x < 0; });
        if (negative || rows.back().busy < 1) throw UsageError("an operation must take time");
    }
    return rows;
}

inline const std::uint32_t* classes_of(const py::array& classes, std::size_t size,
                                       std::size_t rows) {
    const auto* of = column<std::uint32_t>(classes, "classes");
    bool fits = static_cast<std::size_t>(classes.size()) == size;
    for (std::size_t i = 0; fits && i < size; ++i) fits = of[i] < rows;
    if (!fits) throw UsageError("classes must have a row of costs for each operation");
    return of;
}

inline py::array expected_starts_of(const py::object& given, const py::array& costs,
                                    const py::array& classes, const py::array& sharing,
                                    bool shared) {
    const BorrowedSchedule borrowed(given);
    const Schedule& schedule = borrowed.schedule;
    const std::vector<OpCost> rows = rows_of(costs);
    const auto* of_class = classes_of(classes, schedule.stream.size, rows.size());
    const auto* cores = column<std::int64_t>(sharing, "sharing");
    for (const StreamRow& row : schedule.stream) {
        if (row.layer >= static_cast<std::size_t>(sharing.size())) {
            throw UsageError("sharing must have a number for each layer");
        }
    }
    std::vector<Cycle> found;
    {
        const py::gil_scoped_release without_gil;
        check_references(schedule, borrowed.cores);
        found = expected_starts(schedule, borrowed.cores, rows, of_class, cores, shared);
    }
    return array_of(std::move(found));
}

inline py::dict time_schedule(const py::object& given, const py::object& machine,
                              const py::array& costs, const py::array& classes,
                              const std::optional<py::array>& planes, SharedEngine* engine) {
    const BorrowedSchedule borrowed(given);
    const Schedule& schedule = borrowed.schedule;
    const std::size_t size = schedule.stream.size;
    const TimingMachine of = timing_machine(machine);
    if (of.channels < 1 || of.channels > 255 || of.in_flight < 1 || of.depth < 1) {
        throw UsageError("a machine has at least one channel, place in flight and place in a queue");
    }
    const std::vector<OpCost> rows = rows_of(costs);
    const auto* of_class = classes_of(classes, size, rows.size());
    const auto each = planes_of(planes, schedule);

    py::dict found;
    const auto cycles = [&](const char* name) {
        py::array_t<Cycle> column(static_cast<py::ssize_t>(size));
        found[name] = column;
        return column.mutable_data();
    };
    TimelineColumns columns{};
    columns.issue = cycles("issue");
    columns.start = cycles("start");
    columns.begin = cycles("begin");
    columns.done = cycles("done");
    columns.end = cycles("end");
    columns.dram_begin = cycles("dram_begin");
    columns.dram_end = cycles("dram_end");
    py::array_t<std::uint8_t> channel(static_cast<py::ssize_t>(size));
    py::array_t<std::uint8_t> gate({size, kPoints});
    py::array_t<std::uint32_t> holder({size, kPoints});
    found["channel"] = channel;
    found["gate"] = gate;
    found["holder"] = holder;
    columns.channel = channel.mutable_data();
    columns.gate = gate.mutable_data();
    columns.holder = holder.mutable_data();
    if (of.memory.answers()) {
        columns.latency = cycles("latency");
        columns.read = cycles("read");
        columns.written = cycles("written");
        columns.contention = cycles("contention");
        columns.crossing = cycles("crossing");
    }
    TimingResult result;
    {
        const py::gil_scoped_release without_gil;
        check_references(schedule, borrowed.cores);
        std::optional<EngineSteps> steps;
        std::optional<Alongside> alongside;
        if (engine) alongside.emplace(steps.emplace(*engine));
        result = time_operations(schedule, borrowed.cores, of, rows, of_class, each, columns,
                                 alongside ? &*alongside : nullptr);
        if (alongside) alongside->finish();
    }
    found["unretired"] = result.unretired;
    found["counters"] = result.counters;
    return found;
}

inline py::tuple way_back_of(const py::array_t<std::uint8_t, py::array::c_style>& gate,
                             const py::array_t<std::uint32_t, py::array::c_style>& holder,
                             const std::vector<std::uint8_t>& origins, std::uint8_t point, std::uint32_t op) {
    for (const py::array* each : {static_cast<const py::array*>(&gate), static_cast<const py::array*>(&holder)}) {
        if (each->ndim() != 2 || each->shape(1) != static_cast<py::ssize_t>(kPoints) ||
            each->shape(0) != gate.shape(0)) {
            throw UsageError("gate and holder must have the shape (operations, 7)");
        }
    }
    WayBack found;
    {
        const py::gil_scoped_release without_gil;
        found = way_back(gate.data(), holder.data(), static_cast<std::size_t>(gate.shape(0)), origins, point, op);
    }
    return py::make_tuple(py::array_t<std::uint8_t>(static_cast<py::ssize_t>(found.points.size()), found.points.data()),
                          py::array_t<std::uint32_t>(static_cast<py::ssize_t>(found.ops.size()), found.ops.data()));
}

inline py::list gate_names() {
    py::list names;
#define MINISIM_APPEND_GATE(code, name) names.append(name);
    MINISIM_GATES(MINISIM_APPEND_GATE)
#undef MINISIM_APPEND_GATE
    return names;
}

inline void define_timing(py::module_& m) {
    m.def("classify", classify_schedule, "schedule"_a, "planes"_a, "period"_a, doc::kClassify);
    m.def("time_schedule", time_schedule, "schedule"_a, "machine"_a, "costs"_a, "classes"_a,
          "planes"_a = py::none(), "engine"_a = nullptr, doc::kTimeSchedule);
    m.def("expected_starts", expected_starts_of, "schedule"_a, "costs"_a, "classes"_a, "sharing"_a,
          "shared"_a, doc::kExpectedStarts);
    m.def("way_back", way_back_of, "gate"_a, "holder"_a, "origins"_a, "point"_a, "op"_a, doc::kWayBack);
    m.def("gates", gate_names, doc::kGates);
}

}  // namespace minisim
