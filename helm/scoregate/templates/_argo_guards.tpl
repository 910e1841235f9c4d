{{/* What cannot work of Argo Rollouts: sentences, as YAML {problems: […]}. Takes root. */}}
{{- define "scoregate.argoProblems" -}}
{{- $problems := list }}
{{- with .root.Values }}
{{- if eq .rollout.strategy "argo" }}
{{- if not ($.root.Capabilities.APIVersions.Has "argoproj.io/v1alpha1/Rollout") }}
{{- $problems = append $problems "rollout.strategy is argo, but the cluster does not serve argoproj.io/v1alpha1/Rollout, so nothing would start the pods: install Argo Rollouts first, or set it to helm; where there is no cluster to ask, add --api-versions argoproj.io/v1alpha1/Rollout." }}
{{- end }}
{{- if not .ledger.url.existingSecret }}
{{- $problems = append $problems "rollout.strategy is argo, but ledger.url.existingSecret is empty: the verdict reads the decisions of all pods, so they need one ledger." }}
{{- end }}
{{- if not .rollout.argo.prometheus }}
{{- $problems = append $problems "rollout.strategy is argo, but rollout.argo.prometheus is empty: without metrics there is no verdict, and no canary would ever be promoted. Name Prometheus' URL." }}
{{- end }}
{{- if .ledger.segments.accept }}
{{- $problems = append $problems "rollout.strategy is argo, but ledger.segments.accept is true, for which each arm is a StatefulSet of one pod: set the strategy to helm, or accept no segments." }}
{{- end }}
{{- range $name, $_ := .services }}
{{- $weight := (include "scoregate.service" (dict "root" $.root "name" $name) | fromYaml).canary.weight }}
{{- if gt (int $weight) 0 }}
{{- $problems = append $problems (printf "services.%s.canary.weight is %v, but with rollout.strategy argo it is Argo that gives shares, by rollout.argo.steps: leave it at 0." $name $weight) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml (dict "problems" $problems) }}
{{- end }}
