// Tests are claims, registered where they stand:
//
//   TEST("keeps a partial frame") {
//     CHECK(cut.kind == FrameCut::Kind::kPartial);
//     CHECK_EQ(cut.scanned, 3u);
//   }
//
// A failed check ends its test by an exception, so checks belong on the thread of the test: other threads report through
// memory shared with it. The runner ends every test by proving that no descriptor is left open.
#pragma once

#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>

namespace mr::test {

struct Failure {};  // the fault is printed before it is thrown

struct Registration {
  Registration(const char* file, const char* claim, void (*body)());
};

// Something a failure has to be read with, a random seed for instance. Printed by a check that fails while the note lives.
class Note {
 public:
  explicit Note(std::function<std::string()> text);
  ~Note();
  Note(const Note&) = delete;
  Note& operator=(const Note&) = delete;
  std::string text() const { return text_(); }

 private:
  std::function<std::string()> text_;
};

[[noreturn]] void fail(const char* file, int line, const std::string& what);

// Runs the tests whose "file: claim" contains one of the given texts, or all. Returns the process's exit code.
int run(int argc, char** argv);

template <typename T>
std::string show(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<long long>(value));
  } else if constexpr (std::is_same_v<T, char> || std::is_same_v<T, signed char> || std::is_same_v<T, unsigned char>) {
    return std::to_string(static_cast<int>(value));
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return '"' + std::string(std::string_view(value)) + '"';
  } else if constexpr (requires(std::ostringstream & out) { out << value; }) {
    std::ostringstream out;
    out << value;
    return out.str();
  } else {
    return "(a value that cannot be shown)";
  }
}

template <typename A, typename B>
void checkEqual(const A& actual, const B& expected, const char* text, const char* file, int line) {
  if (actual == expected) return;
  fail(file, line, std::string(text) + ": is " + show(actual) + ", not " + show(expected));
}

}  // namespace mr::test

#define MR_TEST_JOIN_(a, b) a##b
#define MR_TEST_JOIN(a, b) MR_TEST_JOIN_(a, b)
#define MR_TEST_NAMED(claim, body)                                                                \
  static void body();                                                                             \
  static const ::mr::test::Registration MR_TEST_JOIN(body, Registration)(__FILE__, claim, &body); \
  static void body()

#define TEST(claim) MR_TEST_NAMED(claim, MR_TEST_JOIN(test, __LINE__))

#define CHECK(...)                                                          \
  do {                                                                      \
    if (!(__VA_ARGS__)) ::mr::test::fail(__FILE__, __LINE__, #__VA_ARGS__); \
  } while (false)

// The actual value first.
#define CHECK_EQ(actual, expected) ::mr::test::checkEqual((actual), (expected), #actual, __FILE__, __LINE__)
