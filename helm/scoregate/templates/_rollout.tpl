{{/* The route of a service, with this much for its canary. Takes root, name, weight. */}}
{{- define "scoregate.route" -}}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{ include "scoregate.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "scoregate.labels" (dict "root" .root "name" .name) | nindent 4 }}
spec:
  parentRefs:
    {{- if .root.Values.gateway.create }}
    - name: {{ .root.Release.Name }}
    {{- else }}
    {{- toYaml .root.Values.gateway.parentRefs | nindent 4 }}
    {{- end }}
  {{- with .root.Values.gateway.hostnames }}
  hostnames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - matches:
        - path:
            type: PathPrefix
            value: /v1/{{ .name }}
      # Defaults are written out: what the cluster adds, the next apply would take for a difference.
      backendRefs:
        {{- range (include "scoregate.backends" . | fromYaml).arms }}
        - group: ""
          kind: Service
          name: {{ include "scoregate.name" $ }}-{{ . }}
          port: 80
          {{- if eq . "canary" }}
          weight: {{ $.weight }}
          {{- else }}
          weight: {{ sub 100 (int $.weight) }}
          {{- end }}
        {{- end }}
{{- end }}

{{/*
What the step after install and upgrade is to do, as YAML {canaries: [{canary, route}, …]}: the Deployment and
Service that it waits for, and the route that it writes then. Takes root.
*/}}
{{- define "scoregate.canaries" -}}
{{- $canaries := list }}
{{- if and .root.Values.rollout.waitForCanary (ne .root.Values.rollout.strategy "argo") }}
{{- range $name, $_ := .root.Values.services }}
{{- $context := dict "root" $.root "name" $name }}
{{- $canary := (include "scoregate.service" $context | fromYaml).canary }}
{{- if gt (int $canary.weight) 0 }}
{{- $armed := printf "%s-canary" (include "scoregate.name" $context) }}
{{- $route := include "scoregate.route" (dict "root" $.root "name" $name "weight" $canary.weight) | fromYaml }}
{{- $canaries = append $canaries (dict "canary" $armed "route" $route) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml (dict "canaries" $canaries) }}
{{- end }}
