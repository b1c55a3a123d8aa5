// The scheduler's walk in Python's terms. Part of bindings.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "arrays.hpp"
#include "docstrings_walk.hpp"
#include "minisim/walk.hpp"

namespace minisim {

// A lowered program's tables, borrowed: while `kept` keeps them alive nobody writes to them but the walk, to `placed`.
struct BorrowedUops {
    std::vector<py::array> kept;
    UopProgram program;

    explicit BorrowedUops(const py::object& from) {
        program.cores = from.attr("cores").cast<std::uint32_t>();
        program.uops = uops_of(keep(from, "uops"));
        program.matmuls = borrowed_rows<MatmulRow>(keep(from, "matmuls"), "matmuls");
        program.vectors = borrowed_rows<VectorRow>(keep(from, "vectors"), "vectors");
        program.pieces = borrowed_rows<PieceRow>(keep(from, "pieces"), "pieces");
        program.tiles = borrowed_rows<TileRow>(keep(from, "tiles"), "tiles");
        program.tensors = borrowed_rows<TensorRow>(keep(from, "tensors"), "tensors");
        program.layers = static_cast<std::uint32_t>(keep(from, "layers").size());
        program.resident_ok = sized<bool>(from, "resident_ok", program.tensors.size);
        program.sums = sized<bool>(from, "sums", program.tensors.size);
        const std::size_t each = std::size_t{program.layers} * program.cores;
        program.ahead = flat(from, "ahead", each);
        program.horizon = flat(from, "horizon", each);
        if (program.cores == 0) throw UsageError("a program is for at least one core");
    }

    Operands placed(const py::object& from) {
        return {written<MatmulRow>(from, "matmuls"), written<VectorRow>(from, "vectors"), written<PieceRow>(from, "pieces")};
    }

private:
    py::array& keep(const py::object& from, const char* name) {
        kept.push_back(py::array(from.attr(name)));
        return kept.back();
    }

    static Table<UopRow> uops_of(const py::array& array) {
        const auto fields = array.dtype().attr("fields");
        bool fits = array.ndim() == 1 && array.itemsize() == sizeof(UopRow) && !fields.is_none() &&
                    (array.size() <= 1 || array.strides(0) == sizeof(UopRow));
        const std::pair<const char*, std::size_t> offsets[] = {
            {"opcode", offsetof(UopRow, opcode)}, {"core", offsetof(UopRow, core)},
            {"layer", offsetof(UopRow, layer)},   {"ref", offsetof(UopRow, ref)},
            {"fetch", offsetof(UopRow, fetch)}};
        for (const auto& [name, offset] : offsets) {
            fits = fits && fields.contains(name) &&
                   py::tuple(fields[name])[1].cast<std::size_t>() == offset;
        }
        if (!fits) throw ScheduleError("table 'uops' must be a packed column, not " + describe(array));
        return {static_cast<const UopRow*>(array.data()), static_cast<std::size_t>(array.size())};
    }

    template <class T>
    const T* sized(const py::object& from, const char* name, std::size_t size) {
        const py::array& array = keep(from, name);
        const T* found = column<T>(array, name);
        if (static_cast<std::size_t>(array.size()) != size) {
            throw UsageError(std::string(name) + " must have a number for each row");
        }
        return found;
    }

    // The rows of a table, to write to.
    template <class Row>
    Row* written(const py::object& from, const char* name) {
        py::array& array = keep(from, name);
        if (!array.writeable()) throw UsageError(std::string(name) + " must not be read-only: addresses are written there");
        return const_cast<Row*>(borrowed_rows<Row>(array, name).rows);
    }

    const std::int64_t* flat(const py::object& from, const char* name, std::size_t size) {
        kept.push_back(py::array(from.attr(name)).attr("reshape")(-1).cast<py::array>());
        if (static_cast<std::size_t>(kept.back().size()) != size) {
            throw UsageError(std::string(name) + " must have a number for each layer and core");
        }
        return column<std::int64_t>(kept.back(), name);
    }
};

// An array of a table's rows, without a copy.
template <class Row>
py::array array_of(Grown<Row>&& rows) {
    const auto size = static_cast<py::ssize_t>(rows.size());
    const py::dtype dtype = layout_of<Row>().dtype();
    if (size == 0) return py::array(dtype, 0);
    rows.shrink();
    Row* data = rows.release();
    const py::capsule keeper(data, [](void* p) { std::free(p); });
    return py::array(dtype, {size}, {static_cast<py::ssize_t>(sizeof(Row))}, data, keeper);
}

// To the system, what lowering so many uOps has freed: the C library keeps it else, as much as the program itself.
inline void give_back(std::size_t uops) {
#ifdef __GLIBC__
    constexpr std::size_t kMany = 1'000'000;
    if (uops >= kMany) malloc_trim(0);
#else
    static_cast<void>(uops);
#endif
}

inline py::dict walk_program(const py::object& program, std::uint64_t sram_bytes,
                             std::uint64_t accumulator_bytes, bool keep_on_chip) {
    if (sram_bytes >= kNone || accumulator_bytes >= kNone - sram_bytes) {
        throw UsageError("memories must end below address 2^32");
    }
    BorrowedUops borrowed(program);
    const Operands placed = borrowed.placed(program);
    Walked found;
    {
        const py::gil_scoped_release without_gil;
        give_back(borrowed.program.uops.size);
        borrowed.program.check();
        found = walk(borrowed.program, {sram_bytes, accumulator_bytes, keep_on_chip}, placed);
    }
    return py::dict("stream"_a = array_of(std::move(found.stream)),
                    "transfers"_a = array_of(std::move(found.transfers)),
                    "syncs"_a = array_of(std::move(found.syncs)),
                    "peak"_a = array_of(std::move(found.peak)),
                    "eliminated"_a = array_of(std::move(found.eliminated)), "live"_a = found.live);
}

inline py::tuple memory_needed(const py::object& program, bool sums_apart) {
    const BorrowedUops borrowed(program);
    Needed scratchpad, accumulator;
    {
        const py::gil_scoped_release without_gil;
        borrowed.program.check();
        scratchpad = scratchpad_needed(borrowed.program, sums_apart);
        accumulator = accumulator_needed(borrowed.program);
    }
    return py::make_tuple(scratchpad.bytes, scratchpad.layer, accumulator.bytes, accumulator.layer);
}

inline py::array_t<std::int64_t> place_sizes_of(const py::object& program) {
    const BorrowedUops borrowed(program);
    borrowed.program.check();
    return array_of(borrowed.program.place_sizes());
}

inline void define_walk(py::module_& m) {
    m.def("place_sizes", place_sizes_of, "program"_a, doc::kPlaceSizes);
    m.def("walk", walk_program, "program"_a, "sram_bytes"_a, "accumulator_bytes"_a, "keep_on_chip"_a, doc::kWalk);
    m.def("memory_needed", memory_needed, "program"_a, "sums_apart"_a, doc::kMemoryNeeded);
}

}  // namespace minisim
