// The timed DRAM in Python's terms. Part of bindings.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "docstrings_dram.hpp"
#include "minisim/dram_memory.hpp"

namespace minisim {

// A part with the attributes of a minisim.hwmodel.dram_presets.DramPart.
inline DramPart dram_part(const py::object& part) {
    DramPart found;
#define MINISIM_READ_NUMBER(name) found.name = part.attr(#name).cast<std::int64_t>();
    MINISIM_DRAM_NUMBERS(MINISIM_READ_NUMBER)
#undef MINISIM_READ_NUMBER
    found.mapping = part.attr("mapping").cast<std::string>();
    return found;
}

inline DramMemory::Served run_memory(DramMemory& self, const py::array& addresses,
                                     const py::array_t<bool, py::array::c_style>& writes,
                                     Cycle start, Cycle not_before, std::int64_t outstanding) {
    const auto* address = column<std::int64_t>(addresses, "addresses");
    if (writes.ndim() != 1 || writes.size() != addresses.size()) {
        throw UsageError("addresses and writes must have one length, not " +
                         std::to_string(addresses.size()) + " and " +
                         std::to_string(writes.size()));
    }
    const auto count = static_cast<std::size_t>(addresses.size());
    return self.run(address, writes.data(), count, start, not_before, outstanding);
}

inline DramMemory::Turn serve_lines(DramMemory& self, const std::vector<std::int64_t>& reads,
                                    const std::vector<std::int64_t>& writes, std::int64_t size,
                                    Cycle now, Cycle since) {
    std::vector<std::int64_t> all(reads);
    all.insert(all.end(), writes.begin(), writes.end());
    return self.lines(all.data(), reads.size(), all.size(), size, now, since);
}

// The GIL is kept: a transfer takes microseconds, and two threads may not share a memory.
inline void define_dram(py::module_& m) {
    py::class_<DramMemory::Served>(m, "DramServed", py::is_final(), doc::kDramServed)
        .def_readonly("issued", &DramMemory::Served::issued)
        .def_readonly("returned", &DramMemory::Served::returned)
        .def("__repr__", [](const DramMemory::Served& x) {
            return "DramServed(issued=" + std::to_string(x.issued) +
                   ", returned=" + std::to_string(x.returned) + ")";
        });
    py::class_<DramMemory::Turn>(m, "DramTurn", py::is_final(), doc::kDramTurn)
        .def_readonly("begin", &DramMemory::Turn::begin)
        .def_readonly("turn", &DramMemory::Turn::turn)
        .def_readonly("end", &DramMemory::Turn::end)
        .def("__repr__", [](const DramMemory::Turn& x) {
            return "DramTurn(begin=" + std::to_string(x.begin) + ", turn=" + std::to_string(x.turn) +
                   ", end=" + std::to_string(x.end) + ")";
        });
    py::class_<DramMemory>(m, "DramMemory", py::is_final(), doc::kDramMemory)
        .def(py::init([](const py::object& part, const py::object& rate) {
                 const auto whole = [&](const char* name) {
                     return rate.attr(name).cast<std::int64_t>();  // of a Fraction, or an int
                 };
                 return DramMemory(dram_part(part), whole("numerator"), whole("denominator"));
             }),
             "part"_a, "rate"_a = py::int_(1))
        .def("run", run_memory, "addresses"_a, "writes"_a, "start"_a, "not_before"_a = 0,
             "outstanding"_a = kNever, doc::kDramRun)
        .def("transfer", &DramMemory::transfer, "first"_a, "pitch"_a, "rows"_a, "width"_a,
             "write"_a, "now"_a, "since"_a, doc::kDramTransfer)
        .def("lines", serve_lines, "reads"_a, "writes"_a, "size"_a, "now"_a, "since"_a,
             doc::kDramLines);
}

}  // namespace minisim
