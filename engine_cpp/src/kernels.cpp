#include "minisim/kernels.hpp"

#include "minisim/errors.hpp"

namespace minisim {

void Scratch::make_room(DType dtype, std::size_t m, std::size_t k, std::size_t n) {
    if (dtype == DType::kInt16) return;  // all kernels leave it to the reference, which needs none
    panel.reserve(k * kWidestPanel);
    if (dtype == DType::kFp32) return;
    left.reserve(m * k);
    right.reserve(k * n);
    if (accumulator_of(dtype) == DType::kInt32) sums.reserve(m * n);
}

const std::vector<Kernel>& kernels() {
    static const std::vector<Kernel> all = [] {
        std::vector<Kernel> found = {kReferenceKernel};
        for (const Kernel& kernel : usable_fast_kernels()) found.push_back(kernel);
        return found;
    }();
    return all;
}

const Kernel& kernel_named(const std::string& name) {
    if (name == "auto" || name == "fast") return kernels().back();
    std::string names = "'auto', 'fast'";
    for (const Kernel& kernel : kernels()) {
        if (name == kernel.name) return kernel;
        names += std::string(", '") + kernel.name + "'";
    }
    throw UsageError("kernel must be one of " + names + " on this processor, not '" + name + "'");
}

}  // namespace minisim
