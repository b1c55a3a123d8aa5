// The DRAM: one buffer per storage. Tensors that share a storage are views of the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "minisim/buffer.hpp"
#include "minisim/schedule.hpp"

namespace minisim {

class Dram {
public:
    Dram() = default;

    // Allocates and poisons the storages of all tensors, but of intermediates only once one is stored or loaded: most
    // of what an operator keeps between its operations never leaves the SRAM, and may be larger than any memory. Throws
    // ScheduleError if two tensors cannot be views of one buffer, std::bad_alloc if the memory cannot be had.
    explicit Dram(const Table<TensorRow>& tensors);

    // Adds a tensor with a storage of its own. If it throws (std::bad_alloc), nothing changed.
    void add(const TensorRow& tensor);
    void drop() noexcept;  // the tensor that was added last

    std::size_t storages() const { return storages_.size(); }
    std::uint32_t storage_of(std::uint32_t tensor) const { return storage_of_[tensor]; }
    std::uint64_t storage_bytes(std::uint32_t storage) const { return storages_[storage].bytes; }

    // Element (0, 0) of a tensor, and its buffer for those who need it to outlive the DRAM. Throws std::bad_alloc if it
    // is an intermediate, this is the first time, and the memory cannot be had.
    std::byte* data(std::uint32_t tensor);
    const std::shared_ptr<Buffer>& buffer(std::uint32_t tensor) const;

    // True if the user supplies the content: then the program may not write it, and it survives
    // a reset.
    bool supplied(std::uint32_t tensor) const { return storages_[storage_of_[tensor]].supplied; }

    void poison_computed() noexcept;  // all storages but the supplied ones

private:
    struct Storage {
        TensorRow first;  // the tensor that named it first: its views must fit it
        std::uint64_t bytes;
        bool supplied;
        bool lazy;  // all its tensors are intermediates
        mutable std::shared_ptr<Buffer> buffer;
    };

    static void allocate(const Storage& storage);

    std::vector<Storage> storages_;
    std::vector<std::uint32_t> storage_of_;  // by tensor
};

// Copies `rows` rows of `row_bytes` bytes between places whose rows lie `*_pitch` bytes apart.
void copy_rows(std::byte* to, std::size_t to_pitch, const std::byte* from, std::size_t from_pitch,
               std::size_t rows, std::size_t row_bytes);

}  // namespace minisim
