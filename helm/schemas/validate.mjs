// Each custom resource of the files that are named, against the schema of who defines it: Gateway API, Argo Rollouts,
// Prometheus' operator. What is Kubernetes' own, tests/chart validates. Exit code 1 says every field that is refused.
import { readFileSync } from "node:fs";
import * as argo from "@kubernetes-models/argo-rollouts/argoproj.io/v1alpha1";
import * as gateway from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1";
import * as operator from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { parseAllDocuments } from "yaml";

const definitions = {
  "argoproj.io/v1alpha1": argo,
  "gateway.networking.k8s.io/v1": gateway,
  "monitoring.coreos.com/v1": operator,
};

function refusal(Kind, manifest) {
  try {
    new Kind(manifest).validate();
    return null;
  } catch (problem) {
    return problem.message;
  }
}

const counts = {};
let refused = 0;
for (const file of process.argv.slice(2)) {
  for (const document of parseAllDocuments(readFileSync(file, "utf8"))) {
    const manifest = document.toJS();
    const Kind = definitions[manifest.apiVersion]?.[manifest.kind];
    if (!(manifest.apiVersion in definitions)) continue;
    // A schema that takes anything would check nothing.
    const problem = Kind ? refusal(Kind, manifest) : "no such kind";
    const checks = Kind && refusal(Kind, { ...manifest, spec: "nothing" });
    if (problem || !checks) {
      console.error(`${file}: ${manifest.kind} ${manifest.metadata.name}: ${problem ?? "its schema takes anything"}`);
      refused += 1;
    }
    counts[manifest.kind] = (counts[manifest.kind] ?? 0) + 1;
  }
}
console.log(Object.entries(counts).map(([kind, count]) => `${count} ${kind}`).join(", "), `validated, ${refused} refused.`);
process.exit(refused || !Object.keys(counts).length ? 1 : 0);
