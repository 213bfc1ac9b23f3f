#pragma once
#include <optional>

#include "base/bytes.h"
#include "socks/decoded.h"
#include "socks/flow_option.h"
#include "socks/peer_option.h"
#include "socks/socks5.h"
#include "socks/stack_option.h"
#include "socks/target.h"
#include "socks/trunk_option.h"

/// SOCKS6, draft-olteanu-intarea-socks-6-12, both roles. Where the draft leaves a choice: senders write names with their
/// padding counted in the length byte (-12); receivers take -11 names, too. A bad length inside of the option block is an
/// error, since it could hide options; unknown kinds, codes and padding are ignored. Of repeated options the first counts.
namespace epif::socks6 {

inline constexpr std::uint8_t version = 6;

/// Option kinds (draft section 7; the gaps are unassigned or withdrawn).
enum class Kind : std::uint16_t {
  stack = 1,
  method_advertisement = 2,
  method_selection = 3,
  auth_data = 4,
  session_request = 5,
  session_id = 6,
  session_ok = 8,
  session_invalid = 9,
  session_teardown = 10,
  idempotence_request = 11,
  idempotence_window = 12,
  idempotence_expenditure = 13,
  idempotence_accepted = 14,
  idempotence_rejected = 15,
  flow = kind_flow,  ///< ours, experimental range, like the next
  expected_peer = kind_expected_peer,
  trunk = kind_trunk,
};

using Method = socks5::Method;
using Credentials = socks5::Credentials;

/// Kind 2: the client accepts an interactive phase, and announces initial data.
struct MethodAdvertisement {
  std::uint16_t initial_data_bytes = 0;  ///< 0..16384; these follow the request at once
  socks::View methods;                   ///< method numbers; trailing zeros are padding
  [[nodiscard]] bool offers(Method method) const;
  friend bool operator==(const MethodAdvertisement&, const MethodAdvertisement&) = default;
};

struct RequestOptions {
  StackOptions stack;
  std::optional<MethodAdvertisement> advertisement;
  std::optional<Credentials> credentials;  ///< kind 4, method 2
  bool session_request = false;
  socks::View session_id;  ///< empty if absent
  bool session_teardown = false;
  std::optional<std::uint32_t> idempotence_request;  ///< window size
  std::optional<std::uint32_t> token;                ///< kind 13, the token to spend
  std::optional<FlowOption> flow;
  std::optional<socks::Target> expected_peer;        ///< BIND: who is to connect
  std::optional<TrunkOption> trunk;
  friend bool operator==(const RequestOptions&, const RequestOptions&) = default;
};

struct Request {
  socks::Command command = socks::Command::connect;
  socks::Target target;
  RequestOptions options;
  [[nodiscard]] std::size_t initial_data_bytes() const {
    return options.advertisement ? options.advertisement->initial_data_bytes : 0;
  }
  friend bool operator==(const Request&, const Request&) = default;
};

struct IdempotenceWindow {
  std::uint32_t base = 0;
  std::uint32_t size = 0;
  friend bool operator==(const IdempotenceWindow&, const IdempotenceWindow&) = default;
};

struct AuthenticationReply {
  bool success = false;
  std::optional<Method> selection;                 ///< kind 3
  std::optional<std::uint8_t> credentials_status;  ///< kind 4, method 2: 0 is accepted
  socks::View session_id;
  bool session_ok = false;
  bool session_invalid = false;
  std::optional<IdempotenceWindow> window;
  std::optional<bool> token_accepted;  ///< kinds 14 (true) and 15 (false)
  friend bool operator==(const AuthenticationReply&, const AuthenticationReply&) = default;
};

struct OperationReply {
  socks::Reply reply = socks::Reply::success;
  socks::Target bound;
  StackOptions stack;
  std::optional<TrunkOption> trunk{};
  friend bool operator==(const OperationReply&, const OperationReply&) = default;
};

/// A first byte other than 6 is Fault::version; the proxy answers it with the one byte `version` (draft section 5.1).
[[nodiscard]] socks::Decoded<Request> decode_request(ByteSpan received);
/// On a version mismatch the proxy's single byte 6 stays NeedMore until the connection ends.
[[nodiscard]] socks::Decoded<AuthenticationReply> decode_authentication_reply(ByteSpan received);
[[nodiscard]] socks::Decoded<OperationReply> decode_operation_reply(ByteSpan received);

/// The encoders return the bytes written, 0 if `out` is too small or a field is outside of its limits. 1,536 bytes hold
/// everything that we send.
inline constexpr std::size_t max_sent_bytes = 1536;
[[nodiscard]] std::size_t encode_request(const Request& request, MutableByteSpan out);
[[nodiscard]] std::size_t encode_authentication_reply(const AuthenticationReply& reply, MutableByteSpan out);
[[nodiscard]] std::size_t encode_operation_reply(const OperationReply& reply, MutableByteSpan out);

}  // namespace epif::socks6
