// minisim._engine: the core in Python's terms. Only this file, and the headers beside it that are
// part of it, know Python.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "arrays.hpp"
#include "bindings_dram.hpp"
#include "bindings_panels.hpp"
#include "bindings_timing.hpp"
#include "bindings_walk.hpp"
#include "docstrings.hpp"
#include "minisim/errors.hpp"
#include "minisim/interrupt.hpp"
#include "minisim/shared_engine.hpp"
#include "minisim/text.hpp"

namespace py = pybind11;
using namespace minisim;
using py::literals::operator""_a;

namespace {

// -- errors ---------------------------------------------------------------------------------------

template <class... Args>
void raise(const char* name, const Args&... args) {
    const py::object type = py::module_::import("minisim.errors").attr(name);
    PyErr_SetObject(type.ptr(), type(args...).ptr());
}

void translate(std::exception_ptr error) {
    try {
        if (error) std::rethrow_exception(error);
    } catch (const Hazard& e) {
        raise("ScheduleHazard", e.what(), e.op, e.other, e.cycle);
    } catch (const IndexOutOfRange& e) {
        raise("IndexRangeError", e.what(), e.op);
    } catch (const ScheduleError& e) {
        raise("ScheduleError", e.what());
    } catch (const UsageError& e) {
        raise("UsageError", e.what());
    }
}

// Ctrl-C: Python notes the signal, and its handler, which raises KeyboardInterrupt, waits for the
// interpreter. Only the main thread runs it; elsewhere this does nothing.
void raise_if_signalled() {
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

// -- the engine -----------------------------------------------------------------------------------
// Whoever waits for a turn, and works, does so without the GIL. What a call takes from Python it takes
// before that, and what it gives becomes a Python object after.

using WithoutGil = py::call_guard<py::gil_scoped_release>;

void load(SharedEngine& self, const py::array& stream, const py::array& transfers,
          const py::array& matmuls, const py::array& vectors, const py::array& tiles,
          const py::array& tensors, const std::optional<py::array>& syncs,
          const std::optional<py::array>& pieces, const std::optional<py::array>& windows,
          const std::optional<py::array>& convolutions) {
    Tables tables;
    tables.stream = rows_of<StreamRow>(stream, "stream");
    tables.transfers = rows_of<TransferRow>(transfers, "transfers");
    tables.matmuls = rows_of<MatmulRow>(matmuls, "matmuls");
    tables.vectors = rows_of<VectorRow>(vectors, "vectors");
    tables.tiles = rows_of<TileRow>(tiles, "tiles");
    tables.tensors = rows_of<TensorRow>(tensors, "tensors");
    if (syncs) tables.syncs = rows_of<SyncRow>(*syncs, "syncs");
    if (pieces) tables.pieces = rows_of<PieceRow>(*pieces, "pieces");
    if (windows) tables.windows = rows_of<WindowRow>(*windows, "windows");
    if (convolutions) tables.convolutions = rows_of<ConvolutionRow>(*convolutions, "convolutions");
    const py::gil_scoped_release without_gil;
    self.load(std::move(tables));
}

void load_schedule(SharedEngine& self, const py::object& given) {
    const auto table = [&](const char* name) { return py::array(given.attr(name)); };
    load(self, table("stream"), table("transfers"), table("matmuls"), table("vectors"),
         table("tiles"), table("tensors"), table("syncs"), table("pieces"), table("windows"),
         table("convolutions"));
}

void set_tensor(SharedEngine& self, std::uint32_t tensor, const py::array& values) {
    if (values.ndim() != 2) {
        throw UsageError("values must have two dimensions, not be " + describe(values));
    }
    const HostMatrix matrix = {static_cast<const std::byte*>(values.data()),
                               static_cast<std::size_t>(values.shape(0)),
                               static_cast<std::size_t>(values.shape(1)),
                               values.strides(0),
                               values.strides(1),
                               py::str(values.dtype())};
    const py::gil_scoped_release without_gil;
    self.set_tensor(tensor, matrix);
}

py::array get_tensor(SharedEngine& self, std::uint32_t tensor) {
    auto copy = std::make_unique<TensorCopy>();
    {
        const py::gil_scoped_release without_gil;
        *copy = self.tensor(tensor);
    }
    const TensorCopy& x = *copy;
    return py::array(py::dtype(outside_name(x.dtype)), {x.rows, x.cols}, x.data.get(),
                     keeper_of(std::move(copy)));
}

py::array tensor_view(SharedEngine& self, std::uint32_t tensor) {
    auto kept = std::make_unique<TensorView>();
    {
        const py::gil_scoped_release without_gil;
        *kept = self.tensor_view(tensor);
    }
    const TensorView& x = *kept;
    const bool patterns = x.dtype == DType::kBf16;  // numpy has no such type
    py::array view(py::dtype(patterns ? "uint16" : outside_name(x.dtype)), {x.rows, x.cols},
                   {x.pitch, std::size_t{item_size(x.dtype)}}, x.buffer->data(),
                   keeper_of(std::move(kept)));
    view.attr("setflags")("write"_a = false);
    return view;
}

void replay(SharedEngine& self, const py::array& events, const py::array& cycles) {
    const auto* event = column<std::uint32_t>(events, "events");
    const auto* cycle = column<std::int64_t>(cycles, "cycles");
    if (events.size() != cycles.size()) {
        throw UsageError("events and cycles must have one length, not " +
                         std::to_string(events.size()) + " and " + std::to_string(cycles.size()));
    }
    const auto count = static_cast<std::size_t>(events.size());
    const py::gil_scoped_release without_gil;
    self.replay(event, cycle, count);
}

// -- the arithmetic on its own --------------------------------------------------------------------

// `array` packed, if it has the shape that its place in a product asks for.
py::array_t<float> operand(const py::array& array, const char* name, std::size_t rows,
                           std::size_t cols) {
    py::array_t<float> found = packed(array, name);
    const bool row = rows == 1 && found.ndim() == 1;  // a bias may be a plain vector
    const bool fits = row ? static_cast<std::size_t>(found.shape(0)) == cols
                          : found.ndim() == 2 && static_cast<std::size_t>(found.shape(0)) == rows &&
                                static_cast<std::size_t>(found.shape(1)) == cols;
    if (!fits) {
        throw UsageError(std::string(name) + " must have shape (" + std::to_string(rows) + ", " +
                         std::to_string(cols) + "), not be " + describe(array));
    }
    return found;
}

py::array matmul(const py::array& a, const py::array& b, const std::string& kernel_name,
                 const std::optional<py::array>& bias, const std::optional<py::array>& residual,
                 std::uint8_t activation, bool a_transposed, bool b_transposed) {
    const Kernel& kernel = kernel_named(kernel_name);
    if (activation >= kActivations) {
        throw UsageError("activation must be below " + std::to_string(kActivations) + ", not " +
                         std::to_string(activation));
    }
    if (a.ndim() != 2 || b.ndim() != 2) throw UsageError("a and b must have two dimensions");
    MatmulArgs args{};
    args.m = static_cast<std::size_t>(a.shape(a_transposed ? 1 : 0));
    args.k = static_cast<std::size_t>(a.shape(a_transposed ? 0 : 1));
    args.n = static_cast<std::size_t>(b.shape(b_transposed ? 0 : 1));
    if (args.m == 0 || args.k == 0 || args.n == 0) throw UsageError("a and b must not be empty");
    const py::array_t<float> left = packed(a, "a");
    const py::array_t<float> right = operand(b, "b", b_transposed ? args.n : args.k,
                                             b_transposed ? args.k : args.n);
    py::array_t<float> bias_row, residual_tile;  // keep what the pointers in args point to
    if (bias) {
        bias_row = operand(*bias, "bias", 1, args.n);
        args.bias = bias_row.data();
    }
    if (residual) {
        residual_tile = operand(*residual, "residual", args.m, args.n);
        args.residual = residual_tile.data();
    }
    py::array_t<float> out({args.m, args.n});
    args.a = left.data();
    args.b = right.data();
    args.c = out.mutable_data();
    args.a_transposed = a_transposed;
    args.b_transposed = b_transposed;
    args.clear = args.last = true;
    args.activation = static_cast<Activation>(activation);
    {
        const py::gil_scoped_release without_gil;
        Scratch scratch;
        kernel.matmul(args, scratch);
    }
    return out;
}

py::array vector(std::uint8_t code, const std::vector<py::array>& arrays, const std::string& kernel_name) {
    const Kernel& kernel = kernel_named(kernel_name);
    if (code >= kVectorOps) {
        throw UsageError("op must be below " + std::to_string(kVectorOps) + ", not " +
                         std::to_string(code));
    }
    VectorArgs args{};
    args.op = static_cast<VectorOp>(code);
    const VectorOpInfo op = info(args.op);
    const bool elementwise = !op.is_reduction && !op.is_move && !op.is_fold && !op.is_conversion();
    if (!elementwise) throw UsageError(std::string(op.name) + " is not elementwise");
    if (arrays.size() != op.sources) {
        throw UsageError(std::string(op.name) + " has " + std::to_string(op.sources) +
                         " sources, not " + std::to_string(arrays.size()));
    }
    std::vector<py::array_t<float>> sources;  // keep what the pointers point to
    for (const py::array& array : arrays) {
        sources.push_back(packed(array, "a source"));
        if (!sources.back().attr("shape").equal(sources.front().attr("shape"))) {
            throw UsageError("sources must have one shape, not be " + describe(arrays.front()) +
                             " and " + describe(array));
        }
    }
    const py::array_t<float>& first = sources.front();
    py::array_t<float> out(std::vector<py::ssize_t>(first.shape(), first.shape() + first.ndim()));
    args.rows = 1;
    constexpr std::size_t kBlock = std::size_t{1} << 20;  // what is done before a Ctrl-C is heard
    const auto size = static_cast<std::size_t>(out.size());
    std::vector<const float*> from;
    for (const auto& source : sources) from.push_back(source.data());
    float* to = out.mutable_data();
    {
        const py::gil_scoped_release without_gil;
        for (std::size_t begin = 0; begin < size; begin += kBlock) {
            for (std::size_t k = 0; k < from.size(); ++k) args.sources[k] = {from[k] + begin, 0, 1};
            args.dst = to + begin;
            args.cols = std::min(kBlock, size - begin);
            kernel.vector(args);
        }
    }
    return out;  // counts a reference, which only the lock's holder may
}

template <VectorOp kOp>
py::array unary(const py::array& array, const std::string& kernel_name) {
    packed(array, "array");  // so that the message names it
    return vector(static_cast<std::uint8_t>(kOp), {array}, kernel_name);
}

// -- the module -----------------------------------------------------------------------------------

template <class T>
std::string repr(const T& x) {
    return to_text(x);
}

void define_operations(py::module_& m) {
    py::class_<PlacedTile>(m, "Tile", py::is_final(), doc::kTile)
        .def(py::init([](std::uint32_t tensor, std::uint32_t row, std::uint32_t col,
                         std::uint32_t rows, std::uint32_t cols, std::uint32_t sram) {
                 return PlacedTile{tensor, row, col, rows, cols, sram};
             }),
             "tensor"_a, "row"_a, "col"_a, "rows"_a, "cols"_a, "sram"_a)
        .def_readonly("tensor", &PlacedTile::tensor)
        .def_readonly("row", &PlacedTile::row)
        .def_readonly("col", &PlacedTile::col)
        .def_readonly("rows", &PlacedTile::rows)
        .def_readonly("cols", &PlacedTile::cols)
        .def_readonly("sram", &PlacedTile::sram)
        .def("__repr__", repr<PlacedTile>);

    using Version = std::optional<std::uint32_t>;
    py::class_<SchedLoad>(m, "SchedLoad", py::is_final(), doc::kSchedLoad)
        .def(py::init([](const PlacedTile& tile, Version version) {
                 return SchedLoad{tile, version};
             }),
             "tile"_a, "version"_a = py::none())
        .def_readonly("tile", &SchedLoad::tile)
        .def_readonly("version", &SchedLoad::version)
        .def("__repr__", repr<SchedLoad>);
    py::class_<SchedStore>(m, "SchedStore", py::is_final(), doc::kSchedStore)
        .def(py::init([](const PlacedTile& tile, Version version) {
                 return SchedStore{tile, version};
             }),
             "tile"_a, "version"_a = py::none())
        .def_readonly("tile", &SchedStore::tile)
        .def_readonly("version", &SchedStore::version)
        .def("__repr__", repr<SchedStore>);

    using MaybeTile = std::optional<PlacedTile>;
    py::class_<SchedExecute>(m, "SchedExecute", py::is_final(), doc::kSchedExecute)
        .def(py::init([](const PlacedTile& a, const PlacedTile& b, const PlacedTile& c,
                         std::uint32_t step, std::uint32_t steps, MaybeTile bias,
                         MaybeTile residual, std::uint8_t activation, bool a_transposed,
                         bool b_transposed, MaybeTile acc, float scale) {
                 return SchedExecute{a, b, c, step, steps, bias, residual,
                                     static_cast<Activation>(activation), a_transposed,
                                     b_transposed, acc, scale};
             }),
             "a"_a, "b"_a, "c"_a, py::kw_only(), "step"_a = 0, "steps"_a = 1,
             "bias"_a = py::none(), "residual"_a = py::none(), "activation"_a = 0,
             "a_transposed"_a = false, "b_transposed"_a = false, "acc"_a = py::none(),
             "scale"_a = 0.0f)
        .def_readonly("a", &SchedExecute::a)
        .def_readonly("b", &SchedExecute::b)
        .def_readonly("c", &SchedExecute::c)
        .def_readonly("step", &SchedExecute::step)
        .def_readonly("steps", &SchedExecute::steps)
        .def_readonly("bias", &SchedExecute::bias)
        .def_readonly("residual", &SchedExecute::residual)
        .def_property_readonly("activation",
                               [](const SchedExecute& x) { return int(x.activation); })
        .def_readonly("a_transposed", &SchedExecute::a_transposed)
        .def_readonly("b_transposed", &SchedExecute::b_transposed)
        .def_readonly("acc", &SchedExecute::acc)
        .def_readonly("scale", &SchedExecute::scale)
        .def("__repr__", repr<SchedExecute>);

    using MaybeOperand = std::optional<VectorOperand>;
    py::class_<SchedVector>(m, "SchedVector", py::is_final(), doc::kSchedVector)
        .def(py::init([](std::uint8_t op, const PlacedTile& dst, const VectorOperand& src0,
                         MaybeOperand src1, MaybeOperand src2) {
                 return SchedVector{static_cast<VectorOp>(op), dst, src0, src1, src2};
             }),
             "op"_a, "dst"_a, "src0"_a, "src1"_a = py::none(), "src2"_a = py::none())
        .def_property_readonly("op", [](const SchedVector& x) { return int(x.op); })
        .def_readonly("dst", &SchedVector::dst)
        .def_readonly("src0", &SchedVector::src0)
        .def_readonly("src1", &SchedVector::src1)
        .def_readonly("src2", &SchedVector::src2)
        .def("__repr__", repr<SchedVector>);
}

void define_config_and_stats(py::module_& m) {
    py::class_<EngineConfig>(m, "EngineConfig", py::is_final(), doc::kConfig)
        .def(py::init([](std::uint64_t sram_bytes, std::string kernel, bool check_hazards,
                         std::uint64_t accumulator_bytes, std::uint32_t cores) {
                 return EngineConfig{sram_bytes, std::move(kernel), check_hazards,
                                     accumulator_bytes, cores};
             }),
             "sram_bytes"_a, "kernel"_a = "auto", "check_hazards"_a = true,
             "accumulator_bytes"_a = 0, "cores"_a = 1)
        .def_readonly("sram_bytes", &EngineConfig::sram_bytes)
        .def_readonly("kernel", &EngineConfig::kernel)
        .def_readonly("check_hazards", &EngineConfig::check_hazards)
        .def_readonly("accumulator_bytes", &EngineConfig::accumulator_bytes)
        .def_readonly("cores", &EngineConfig::cores)
        .def("__repr__", repr<EngineConfig>);

    py::class_<EngineStats> stats(m, "EngineStats", py::is_final(), doc::kStats);
    for (const StatField& field : kStatFields) stats.def_readonly(field.name, field.member);
    stats.def("__repr__", repr<EngineStats>);
}

void define_engine(py::module_& m) {
    py::class_<SharedEngine>(m, "Engine", py::is_final(), doc::kEngine)
        .def(py::init<const EngineConfig&>(), "config"_a, WithoutGil())
        .def_property_readonly("config", [](const SharedEngine& x) { return x.config(); },
                               "The `EngineConfig` that it was made with.")
        .def("load", load, "stream"_a, "transfers"_a, "matmuls"_a, "vectors"_a, "tiles"_a,
             "tensors"_a, "syncs"_a = py::none(), "pieces"_a = py::none(),
             "windows"_a = py::none(), "convolutions"_a = py::none(), doc::kLoad)
        .def("load_schedule", load_schedule, "schedule"_a, doc::kLoadSchedule)
        .def("set_tensor", set_tensor, "tensor"_a, "values"_a, doc::kSetTensor)
        .def("tensor", get_tensor, "tensor"_a, doc::kTensor)
        .def("tensor_view", tensor_view, "tensor"_a, doc::kTensorView)
        .def("replay", replay, "events"_a, "cycles"_a, doc::kReplay)
        .def("finish", &SharedEngine::finish, "cycle"_a, WithoutGil(), doc::kFinish)
        .def("run", &SharedEngine::run, WithoutGil(), doc::kRun)
        .def("reset", &SharedEngine::reset, WithoutGil(), doc::kReset)
        .def(
            "add_tensor",
            [](SharedEngine& x, std::uint32_t rows, std::uint32_t cols, std::uint8_t role,
               std::uint8_t dtype) {
                return x.add_tensor(rows, cols, static_cast<Role>(role),
                                    static_cast<DType>(dtype));
            },
            "rows"_a, "cols"_a, "role"_a, "dtype"_a = 0, WithoutGil(), doc::kAddTensor)
        .def("dispatch", &SharedEngine::dispatch, "op"_a, WithoutGil(), doc::kDispatch)
        .def_property_readonly("finished",
                               py::cpp_function(&SharedEngine::finished, WithoutGil()),
                               "True if all operations have retired.")
        .def_property_readonly("stats", py::cpp_function(&SharedEngine::stats, WithoutGil()),
                               "An `EngineStats`: the work done since the last load or reset.")
        .def("__repr__",
             [](const SharedEngine& x) { return "Engine(" + to_text(x.config()) + ")"; });
}

void define_functions(py::module_& m) {
    m.def("matmul", matmul, "a"_a, "b"_a, "kernel"_a = "auto", py::kw_only(),
          "bias"_a = py::none(), "residual"_a = py::none(), "activation"_a = 0,
          "a_transposed"_a = false, "b_transposed"_a = false, doc::kMatmul);
    m.def("sigmoid", unary<VectorOp::kSigmoid>, "array"_a, "kernel"_a = "auto",
          doc::kSigmoid);
    m.def("exp", unary<VectorOp::kExp>, "array"_a, "kernel"_a = "auto", doc::kExp);
    m.def("relu", unary<VectorOp::kRelu>, "array"_a, "kernel"_a = "auto", doc::kRelu);
    m.def("vector", vector, "op"_a, "sources"_a, "kernel"_a = "auto", doc::kVector);
    m.def(
        "kernels",
        [] {
            std::vector<std::string> names;
            for (const Kernel& kernel : kernels()) names.emplace_back(kernel.name);
            return names;
        },
        doc::kKernels);
    m.def("layout", layout, doc::kLayout);
}

}  // namespace

PYBIND11_MODULE(_engine, m) {
    m.doc() = doc::kModule;
    py::register_local_exception_translator(translate);
    set_interruption(raise_if_signalled);
    m.attr("ALIGNMENT") = kAlignment;
    m.attr("NONE") = kNone;
    m.attr("TILE_M") = kTileEdge;
    m.attr("TILE_K") = kTileEdge;
    m.attr("TILE_N") = kTileEdge;
    define_operations(m);
    define_config_and_stats(m);
    define_engine(m);
    define_functions(m);
    define_dram(m);
    define_timing(m);
    define_panels(m);
    define_walk(m);
}
