#include "minisim/dram.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "minisim/errors.hpp"

namespace minisim {
namespace {

bool is_supplied(const TensorRow& tensor) {
    const Role role = static_cast<Role>(tensor.role);
    return role == Role::kInput || role == Role::kWeight;
}

bool is_dense(const TensorRow& tensor) {
    return tensor.pitch == std::uint64_t{tensor.cols} * item_size(static_cast<DType>(tensor.dtype));
}

// Two tensors may be views of one buffer if an element of one is an element of the other: they
// are the same rectangle, or neither has padding that the other would take for data.
bool fit_together(const TensorRow& x, const TensorRow& y) {
    const bool same = x.rows == y.rows && x.cols == y.cols && x.pitch == y.pitch;
    return x.address == y.address && x.dtype == y.dtype && (same || (is_dense(x) && is_dense(y)));
}

}  // namespace

Dram::Dram(const Table<TensorRow>& tensors) {
    for (const TensorRow& tensor : tensors) place(tensor);
    for (Storage& storage : storages_) allocate(storage);
}

std::uint32_t Dram::add(const TensorRow& tensor) {
    const std::uint32_t storage = place(tensor);
    if (!storages_[storage].buffer) allocate(storages_[storage]);
    return storage;
}

// Notes where the tensor lies; the buffer is made when all views of it are known.
std::uint32_t Dram::place(const TensorRow& tensor) {
    const std::uint64_t bytes = std::uint64_t{tensor.rows} * tensor.pitch;
    const auto next = static_cast<std::uint32_t>(storages_.size());
    const auto [found, is_new] = index_.try_emplace(tensor.storage, next);
    if (is_new) storages_.push_back({tensor, 0, false, nullptr});
    Storage& storage = storages_[found->second];
    if (!fit_together(tensor, storage.first)) {
        throw ScheduleError("tensors[" + std::to_string(storage_of_.size()) +
                            "]: it shares storage " + std::to_string(tensor.storage) +
                            " with a tensor of another address, dtype or padded shape");
    }
    storage.bytes = std::max(storage.bytes, bytes);
    storage.supplied = storage.supplied || is_supplied(tensor);
    storage_of_.push_back(found->second);
    return found->second;
}

void Dram::allocate(Storage& storage) {
    storage.buffer = std::make_shared<Buffer>(static_cast<std::size_t>(storage.bytes));
}

std::byte* Dram::data(std::uint32_t tensor) {
    return storages_[storage_of_[tensor]].buffer->data();
}

std::shared_ptr<Buffer> Dram::buffer(std::uint32_t tensor) const {
    return storages_[storage_of_[tensor]].buffer;
}

void Dram::poison_computed() {
    for (Storage& storage : storages_) {
        if (!storage.supplied) storage.buffer->poison();
    }
}

void copy_rows(std::byte* to, std::size_t to_pitch, const std::byte* from, std::size_t from_pitch,
               std::size_t rows, std::size_t row_bytes) {
    for (std::size_t i = 0; i < rows; ++i) {
        std::memcpy(to + i * to_pitch, from + i * from_pitch, row_bytes);
    }
}

}  // namespace minisim
