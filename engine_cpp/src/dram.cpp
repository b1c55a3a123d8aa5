#include "minisim/dram.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include "minisim/errors.hpp"
#include "minisim/packing.hpp"

namespace minisim {
namespace {

bool is_supplied(const TensorRow& tensor) {
    const Role role = static_cast<Role>(tensor.role);
    return role == Role::kInput || role == Role::kWeight;
}

bool is_dense(const TensorRow& tensor) {
    return tensor.pitch == std::uint64_t{tensor.cols} * item_size(static_cast<DType>(tensor.dtype));
}

std::uint64_t bytes_of(const TensorRow& tensor) {
    return (is_packed(tensor) ? stored_rows(tensor) : tensor.rows) * tensor.pitch;
}

// Two tensors may be views of one buffer if an element of one is an element of the other: they
// are the same rectangle, or neither has padding that the other would take for data. Packed weights have no views.
bool fit_together(const TensorRow& x, const TensorRow& y) {
    if (is_packed(x) || is_packed(y)) return false;
    const bool same = x.rows == y.rows && x.cols == y.cols && x.pitch == y.pitch;
    return x.address == y.address && x.dtype == y.dtype && (same || (is_dense(x) && is_dense(y)));
}

}  // namespace

// The buffers are made when all views of each are known.
Dram::Dram(const Table<TensorRow>& tensors) {
    std::unordered_map<std::uint32_t, std::uint32_t> index;  // by the storage's id in the tables
    for (const TensorRow& row : tensors) {
        const TensorRow tensor = laid(row);
        const auto next = static_cast<std::uint32_t>(storages_.size());
        const auto [found, is_new] = index.try_emplace(tensor.storage, next);
        if (is_new) storages_.push_back({tensor, 0, false, true, nullptr});
        Storage& storage = storages_[found->second];
        if (!is_new && !fit_together(tensor, storage.first)) {
            throw ScheduleError("tensors[" + std::to_string(storage_of_.size()) +
                                "]: it shares storage " + std::to_string(tensor.storage) +
                                " with a tensor of another address, dtype or padded shape");
        }
        storage.bytes = std::max(storage.bytes, bytes_of(tensor));
        storage.supplied = storage.supplied || is_supplied(tensor);
        storage.lazy = storage.lazy && static_cast<Role>(tensor.role) == Role::kIntermediate;
        storage_of_.push_back(found->second);
    }
    for (Storage& storage : storages_) {
        if (!storage.lazy) allocate(storage);
    }
}

void Dram::add(const TensorRow& tensor) {
    Storage storage = {tensor, bytes_of(tensor), is_supplied(tensor), false, nullptr};
    allocate(storage);
    storage_of_.push_back(static_cast<std::uint32_t>(storages_.size()));
    try {
        storages_.push_back(std::move(storage));
    } catch (...) {
        storage_of_.pop_back();
        throw;
    }
}

void Dram::drop() noexcept {
    storages_.pop_back();
    storage_of_.pop_back();
}

void Dram::allocate(const Storage& storage) {
    storage.buffer = std::make_shared<Buffer>(static_cast<std::size_t>(storage.bytes));
}

std::byte* Dram::data(std::uint32_t tensor) { return buffer(tensor)->data(); }

const std::shared_ptr<Buffer>& Dram::buffer(std::uint32_t tensor) const {
    const Storage& storage = storages_[storage_of_[tensor]];
    if (!storage.buffer) allocate(storage);
    return storage.buffer;
}

void Dram::poison_computed() noexcept {
    for (Storage& storage : storages_) {
        if (!storage.supplied && storage.buffer) storage.buffer->poison();
    }
}

void copy_rows(std::byte* to, std::size_t to_pitch, const std::byte* from, std::size_t from_pitch,
               std::size_t rows, std::size_t row_bytes) {
    for (std::size_t i = 0; i < rows; ++i) {
        std::memcpy(to + i * to_pitch, from + i * from_pitch, row_bytes);
    }
}

}  // namespace minisim
