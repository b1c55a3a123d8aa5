#include "minisim/text.hpp"

#include <iomanip>
#include <sstream>

namespace minisim {
namespace {

const char* boolean(bool x) { return x ? "True" : "False"; }

std::string optional(const std::optional<PlacedTile>& x) { return x ? to_text(*x) : "None"; }

std::string operand(const VectorOperand& x) {
    if (const auto* tile = std::get_if<PlacedTile>(&x)) return to_text(*tile);
    std::ostringstream out;
    out << std::setprecision(9) << std::get<float>(x);
    return out.str();
}

template <class Transfer>
std::string transfer(const char* name, const Transfer& x) {
    const std::string version = x.version ? std::to_string(*x.version) : "None";
    return std::string(name) + "(" + to_text(x.tile) + ", version=" + version + ")";
}

}  // namespace

std::string to_text(const PlacedTile& x) {
    std::ostringstream out;
    out << "Tile(tensor=" << x.tensor << ", row=" << x.row << ", col=" << x.col
        << ", rows=" << x.rows << ", cols=" << x.cols << ", sram=0x" << std::hex << x.sram << ")";
    return out.str();
}

std::string to_text(const SchedLoad& x) { return transfer("SchedLoad", x); }

std::string to_text(const SchedStore& x) { return transfer("SchedStore", x); }

std::string to_text(const SchedExecute& x) {
    std::ostringstream out;
    out << "SchedExecute(" << to_text(x.a) << ", " << to_text(x.b) << ", " << to_text(x.c)
        << ", step=" << x.step << ", steps=" << x.steps << ", bias=" << optional(x.bias)
        << ", residual=" << optional(x.residual) << ", activation=" << int(x.activation)
        << ", a_transposed=" << boolean(x.a_transposed)
        << ", b_transposed=" << boolean(x.b_transposed) << ", acc=" << optional(x.acc)
        << ", scale=" << std::setprecision(9) << x.scale << ")";
    return out.str();
}

std::string to_text(const SchedVector& x) {
    return "SchedVector(" + std::to_string(int(x.op)) + ", " + to_text(x.dst) + ", " +
           operand(x.src0) + ", src1=" + (x.src1 ? operand(*x.src1) : "None") +
           ", src2=" + (x.src2 ? operand(*x.src2) : "None") + ")";
}

std::string to_text(const EngineConfig& x) {
    return "EngineConfig(sram_bytes=" + std::to_string(x.sram_bytes) + ", kernel='" + x.kernel +
           "', check_hazards=" + boolean(x.check_hazards) +
           ", accumulator_bytes=" + std::to_string(x.accumulator_bytes) +
           ", cores=" + std::to_string(x.cores) + ")";
}

std::string to_text(const EngineStats& x) {
    std::string text;
    for (const StatField& field : kStatFields) {
        text += (text.empty() ? "" : ", ") + std::string(field.name) + "=" +
                std::to_string(x.*field.member);
    }
    return "EngineStats(" + text + ")";
}

}  // namespace minisim
