{{/* What cannot work of monitoring: sentences, as YAML {problems: […]}. Takes root. */}}
{{- define "scoregate.monitoringProblems" -}}
{{- $problems := list }}
{{- $monitoring := .root.Values.monitoring }}
{{- range list "serviceMonitor" "prometheusRule" }}
{{- if and (get $monitoring .).enabled (not ($.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}
{{- $problems = append $problems (printf "monitoring.%s.enabled is true, but the cluster does not serve monitoring.coreos.com/v1, which comes with Prometheus' operator: install that first; where there is no cluster to ask, add --api-versions monitoring.coreos.com/v1." .) }}
{{- end }}
{{- end }}
{{- if and $monitoring.serviceMonitor.enabled .root.Values.networkPolicy.enabled (not .root.Values.networkPolicy.ingress.metrics) }}
{{- $problems = append $problems "monitoring.serviceMonitor.enabled is true, but networkPolicy.ingress.metrics is empty, so Prometheus would be kept out: name the namespace that it runs in." }}
{{- end }}
{{- if and $monitoring.drift.enabled (not .root.Values.ledger.url.existingSecret) }}
{{- $problems = append $problems "monitoring.drift.enabled is true, but ledger.url.existingSecret is empty: it compares the decisions of all pods, so they need one ledger." }}
{{- end }}
{{- toYaml (dict "problems" $problems) }}
{{- end }}
