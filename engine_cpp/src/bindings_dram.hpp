// The timed DRAM in Python's terms. Part of bindings.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <string>

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

// The GIL is kept: a transfer takes microseconds, and two threads may not share a memory.
inline void define_dram(py::module_& m) {
    py::class_<DramMemory::Served>(m, "DramServed", py::is_final(), doc::kDramServed)
        .def_readonly("issued", &DramMemory::Served::issued)
        .def_readonly("returned", &DramMemory::Served::returned)
        .def("__repr__", [](const DramMemory::Served& x) {
            return "DramServed(issued=" + std::to_string(x.issued) +
                   ", returned=" + std::to_string(x.returned) + ")";
        });
    py::class_<DramMemory>(m, "DramMemory", py::is_final(), doc::kDramMemory)
        .def(py::init([](const py::object& part) { return DramMemory(dram_part(part)); }),
             "part"_a)
        .def("run", run_memory, "addresses"_a, "writes"_a, "start"_a, "not_before"_a = 0,
             "outstanding"_a = kNever, doc::kDramRun)
        .def("transfer", &DramMemory::transfer, "first"_a, "pitch"_a, "rows"_a, "width"_a,
             "write"_a, "start"_a, "not_before"_a = 0, doc::kDramTransfer);
}

}  // namespace minisim
