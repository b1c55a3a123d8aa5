// numpy arrays as the core wants them: checked, and as tables. Part of bindings.cpp.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "minisim/errors.hpp"
#include "minisim/schedule.hpp"

namespace minisim {

namespace py = pybind11;
using py::literals::operator""_a;

// -- arrays in ------------------------------------------------------------------------------------

inline std::string describe(const py::array& array) {
    return py::str("an array of dtype {} and shape {}").format(array.dtype(), array.attr("shape"));
}

// A float32 array, or an error that names the argument.
inline py::array float_array(const py::array& array, const char* name) {
    if (!array.dtype().equal(py::dtype::of<float>())) {
        throw UsageError(std::string(name) + " must have dtype float32, not be " + describe(array));
    }
    return array;
}

// The same, packed: copied only if it is not.
inline py::array_t<float> packed(const py::array& array, const char* name) {
    return py::array_t<float, py::array::c_style | py::array::forcecast>(float_array(array, name));
}

template <class T>
const T* column(const py::array& array, const char* name) {
    const bool fits = array.dtype().equal(py::dtype::of<T>()) && array.ndim() == 1 &&
                      (array.size() <= 1 || array.strides(0) == sizeof(T));
    if (!fits) {
        throw UsageError(py::str("{} must be a packed column of {}, not {}")
                             .format(name, py::dtype::of<T>(), describe(array)));
    }
    return static_cast<const T*>(array.data());
}

// -- tables ---------------------------------------------------------------------------------------

// What numpy takes for the type of a field. Of an array a pair, and no text such as "(4,)u4": numpy
// reads that with Python's parser, which fails now and then in two threads at once (CPython 3.11).
template <class Field>
py::object format_of() {
    if constexpr (std::is_array_v<Field>) {
        using Item = std::remove_extent_t<Field>;
        return py::make_tuple(format_of<Item>(), py::make_tuple(std::extent_v<Field>));
    } else {
        const char* kind = std::is_floating_point_v<Field> ? "f" : std::is_signed_v<Field> ? "i" : "u";
        return py::str(kind + std::to_string(sizeof(Field)));
    }
}

struct Layout {
    py::list names, formats, offsets;
    std::size_t itemsize = 0;

    py::dtype dtype() const {
        return py::dtype(names, formats, offsets, static_cast<py::ssize_t>(itemsize));
    }
};

template <class Row>
Layout layout_of() {
    Layout layout;
    layout.itemsize = sizeof(Row);
#define MINISIM_ADD_FIELD(type, field, offset)                                                     \
    if constexpr (std::is_same_v<Row, type>) {                                                     \
        layout.names.append(#field);                                                               \
        layout.formats.append(format_of<decltype(type::field)>());                                 \
        layout.offsets.append(offset);                                                             \
    }
    MINISIM_ISA_FIELDS(MINISIM_ADD_FIELD)
#undef MINISIM_ADD_FIELD
    return layout;
}

inline py::dict layout() {
    py::dict tables;
    const auto add = [&](const char* name, const Layout& table) {
        py::dict fields("itemsize"_a = table.itemsize);
        for (std::size_t i = 0; i < table.names.size(); ++i) {
            fields[table.names[i]] = table.offsets[i];
        }
        tables[name] = fields;
    };
    add("stream", layout_of<StreamRow>());
    add("transfers", layout_of<TransferRow>());
    add("matmuls", layout_of<MatmulRow>());
    add("vectors", layout_of<VectorRow>());
    add("tiles", layout_of<TileRow>());
    add("tensors", layout_of<TensorRow>());
    add("syncs", layout_of<SyncRow>());
    add("pieces", layout_of<PieceRow>());
    add("windows", layout_of<WindowRow>());
    add("convolutions", layout_of<ConvolutionRow>());
    return tables;
}

// An array's rows where they are: for as long as the array lives, and nobody writes to it.
template <class Row>
Table<Row> borrowed_rows(const py::array& array, const char* name) {
    const py::dtype expected = layout_of<Row>().dtype();
    const bool packed = array.ndim() == 1 && (array.size() <= 1 || array.strides(0) == sizeof(Row));
    if (!array.dtype().equal(expected) || !packed) {
        throw ScheduleError(py::str("table {!r} must be a packed column of dtype {}, not {}")
                                .format(name, expected, describe(array)));
    }
    return {static_cast<const Row*>(array.data()), static_cast<std::size_t>(array.size())};
}

// An array's rows, copied: an array that is read-only now may be written to later.
template <class Row>
std::vector<Row> rows_of(const py::array& array, const char* name) {
    const Table<Row> table = borrowed_rows<Row>(array, name);
    return {table.begin(), table.end()};
}

// A capsule that deletes `owned` with the last array that shows it.
template <class Owned>
py::capsule keeper_of(std::unique_ptr<Owned> owned) {
    py::capsule keeper(owned.get(), [](void* p) { delete static_cast<Owned*>(p); });
    owned.release();
    return keeper;
}

// An array of what a vector holds, without a copy.
template <class T>
py::array_t<T> array_of(std::vector<T> values) {
    auto kept = std::make_unique<std::vector<T>>(std::move(values));
    const auto* data = kept->data();
    const auto size = static_cast<py::ssize_t>(kept->size());
    return py::array_t<T>({size}, {static_cast<py::ssize_t>(sizeof(T))}, data,
                          keeper_of(std::move(kept)));
}

}  // namespace minisim
