#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "model/document.h"
#include "model/resource.h"
#include "store/store.h"

/// The hospital and the research centre of the tests:
///   umc: node modality, proxy umc-proxy ══ research: proxy research-proxy, node pacs        vendor: node backup, no proxy
namespace epif::orchestrator::sample {

inline constexpr std::string_view domains = R"(
apiVersion: epif/v1
kind: Domain
metadata: {name: umc}
spec: {jurisdiction: EU}
---
apiVersion: epif/v1
kind: Domain
metadata: {name: research}
spec: {jurisdiction: EU}
---
apiVersion: epif/v1
kind: Domain
metadata: {name: vendor}
spec: {}
---
apiVersion: epif/v1
kind: ProxyNode
metadata: {name: umc-proxy, domain: umc}
spec: {addresses: [10.1.0.2]}
---
apiVersion: epif/v1
kind: ProxyNode
metadata: {name: research-proxy, domain: research}
spec: {addresses: [10.2.0.2]}
---
apiVersion: epif/v1
kind: Node
metadata: {name: modality, domain: umc}
spec: {addresses: [10.1.0.10], attributes: [encryption, firewall], proxy: umc-proxy}
---
apiVersion: epif/v1
kind: Node
metadata: {name: pacs, domain: research}
spec: {addresses: [10.2.0.10, "fd02::10"], proxy: research-proxy}
---
apiVersion: epif/v1
kind: Node
metadata: {name: backup, domain: vendor}
spec: {addresses: [10.3.0.10]}
---
apiVersion: epif/v1
kind: BridgingFunction
metadata: {name: firewall}
spec: {provides: [firewall], image: "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef", trust: platform, cost: {setup: 5ms}}
---
apiVersion: epif/v1
kind: BridgingFunction
metadata: {name: encrypt}
spec: {provides: [encryption], image: "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef", pair: decrypt, cost: {setup: 5ms}}
---
apiVersion: epif/v1
kind: BridgingFunction
metadata: {name: decrypt}
spec: {provides: [encryption], image: "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"}
---
apiVersion: epif/v1
kind: Policy
metadata: {name: care}
spec:
  language: cedar
  text: |
    @id("research-needs-consent") permit(principal, action, resource)
    when { context.purpose == "research" && context.consent };
    @id("treatment") permit(principal, action, resource) when { context.purpose == "treatment" };
)";

inline constexpr std::string_view imaging = R"(
apiVersion: epif/v1
kind: Application
metadata: {name: imaging}
spec:
  purpose: treatment
  flows:
    - {name: send, from: umc/modality, to: research/pacs, port: 4242, data: push}
)";
inline constexpr std::string_view study = R"(
apiVersion: epif/v1
kind: Application
metadata: {name: study}
spec:
  purpose: research
  flows:
    - {name: send, from: umc/modality, to: research/pacs, port: 8042, data: push}
)";
inline constexpr std::string_view consent = R"(
apiVersion: epif/v1
kind: Consent
metadata: {name: p-0042}
spec: {subject: p-0042, flows: [study/send], purposes: [research]}
)";

[[nodiscard]] ResourceSet resources(std::string_view documents);
/// Puts every document into the store, as the API does.
void apply(store::Store& store, std::string_view documents);
[[nodiscard]] std::string status(store::Store& store, const std::string& application);
/// What an agent would do with every Assignment, request and report at this moment; whether there was anything to do.
/// `refuse`: what the authoriser of this domain says no to.
bool agents_act(store::Store& store, const std::string& refuse = {});
/// Passes and acts until nothing changes any more; the number of rounds it took, 0 if that has no end.
int settle(store::Store& store, std::chrono::system_clock::time_point now, const std::string& refuse,
           const std::optional<Cidr>& alias_range);

}  // namespace epif::orchestrator::sample
