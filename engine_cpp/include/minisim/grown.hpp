// A table that grows by a row at a time, and is given away without a copy.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

namespace minisim {

// Rows in memory of `std::malloc`, which large blocks grow in place: while a vector grows it is there twice.
template <class Row>
class Grown {
    static_assert(std::is_trivially_copyable_v<Row>);

public:
    struct Free {
        void operator()(Row* rows) const { std::free(rows); }
    };

    std::size_t size() const { return size_; }
    Row* data() { return rows_.get(); }
    Row& operator[](std::size_t i) { return rows_.get()[i]; }
    const Row& operator[](std::size_t i) const { return rows_.get()[i]; }
    const Row* begin() const { return rows_.get(); }
    const Row* end() const { return rows_.get() + size_; }

    void push_back(const Row& row) {
        if (size_ == capacity_) reserve(capacity_ == 0 ? 64 : 2 * capacity_);
        rows_.get()[size_++] = row;
    }

    // All rows of an array behind those that there are.
    void append(const Row* rows, std::size_t count) {
        if (size_ + count > capacity_) reserve(size_ + count);
        for (std::size_t i = 0; i < count; ++i) rows_.get()[size_ + i] = rows[i];
        size_ += count;
    }

    void clear() { size_ = 0; }
    void shrink() {
        if (size_ < capacity_ && size_ > 0) reserve(size_);
    }

    // The rows, for `std::free`; the table is empty then.
    Row* release() {
        size_ = capacity_ = 0;
        return rows_.release();
    }

private:
    void reserve(std::size_t rows) {
        auto* moved = static_cast<Row*>(std::realloc(rows_.get(), rows * sizeof(Row)));
        if (moved == nullptr) throw std::bad_alloc();
        (void)rows_.release();
        rows_.reset(moved);
        capacity_ = rows;
    }

    std::unique_ptr<Row, Free> rows_;
    std::size_t size_ = 0, capacity_ = 0;
};

}  // namespace minisim
