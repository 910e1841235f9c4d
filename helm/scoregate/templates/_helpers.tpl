{{/*
All helpers take a dict: root (the chart's context), name (a key of services, or worker), and where it matters arm.
*/}}

{{/* Name of a service's objects. Folder names may hold an underscore, object names may not. */}}
{{- define "scoregate.name" -}}
{{ printf "%s-%s" .root.Release.Name (replace "_" "-" .name) }}
{{- end }}

{{/* One service's values as YAML: its own entry over the defaults. Takes root, name. */}}
{{- define "scoregate.service" -}}
{{ include "scoregate.over" (dict "below" .root.Values.defaults "above" (index .root.Values.services .name)) }}
{{- end }}

{{/* `above` over `below` as YAML. Not mergeOverwrite, which takes 0, false and "" for absent. */}}
{{- define "scoregate.over" -}}
{{- $merged := deepCopy .below }}
{{- range $key, $value := .above }}
{{- if and (kindIs "map" $value) (kindIs "map" (get $merged $key)) }}
{{- $value = include "scoregate.over" (dict "below" (get $merged $key) "above" $value) | fromYaml }}
{{- end }}
{{- $_ := set $merged $key $value }}
{{- end }}
{{- toYaml $merged }}
{{- end }}

{{/* Image reference. Takes root, name, repository, tag, digest. */}}
{{- define "scoregate.image" -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end -}}
{{ .repository | default (printf "scoregate/%s" .name) }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/*
The arms of a service as YAML, {arms: [{arm, image, model, replicas}, …]}: stable, then the canary if there is one.
Takes root, name.
*/}}
{{- define "scoregate.arms" -}}
{{- $service := include "scoregate.service" . | fromYaml }}
{{- $image := merge (dict "root" .root "name" .name) $service.image }}
{{- $model := $service.model | default .name }}
{{- $arms := list (dict "arm" "stable" "image" (include "scoregate.image" $image) "model" $model "replicas" $service.replicas) }}
{{- with $service.canary }}
{{- if or .tag .digest .model }}
{{- if or .tag .digest }}
{{- $image = merge (dict "tag" .tag "digest" .digest) $image }}
{{- $_ := set $image "digest" .digest }}
{{- end }}
{{- $arms = append $arms (dict "arm" "canary" "image" (include "scoregate.image" $image) "model" (.model | default $model) "replicas" .replicas) }}
{{- end }}
{{- end }}
{{- toYaml (dict "arms" $arms) }}
{{- end }}

{{/*
The arms of a service that have a Service, as YAML {arms: […]}. The canary's is there without a canary too: were it to
go together with one, a gateway could hear of that before it hears of the route that let go of it, and would answer 500
until then; and Argo's router wants both at all times. Without a router all pods are behind stable's, and Argo weighs by
their number. Takes root.
*/}}
{{- define "scoregate.addressed" -}}
{{- $isWithoutRouter := and (eq .root.Values.rollout.strategy "argo") (not .root.Values.rollout.argo.plugin) }}
{{- toYaml (dict "arms" (ternary (list "stable") (list "stable" "canary") $isWithoutRouter)) }}
{{- end }}

{{/* The arms of a service that traffic may be sent to, as YAML {arms: […]}. Takes root, name. */}}
{{- define "scoregate.backends" -}}
{{- if eq .root.Values.rollout.strategy "argo" }}
{{- include "scoregate.addressed" . }}
{{- else }}
{{- $arms := list }}
{{- range (include "scoregate.arms" . | fromYaml).arms }}
{{- $arms = append $arms .arm }}
{{- end }}
{{- toYaml (dict "arms" $arms) }}
{{- end }}
{{- end }}

{{/* What selectors match, never to change within a release. Takes root, name, arm or shard (optional: all of them). */}}
{{- define "scoregate.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- with .arm }}
scoregate.dev/arm: {{ . }}
{{- end }}
{{- with .shard }}
scoregate.dev/shard: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Labels of a pod: nothing that changes with the chart's version, which would restart every pod. */}}
{{- define "scoregate.podLabels" -}}
{{ include "scoregate.selector" . }}
app.kubernetes.io/part-of: scoregate
{{- end }}

{{/* Labels of an object. Takes what scoregate.selector takes. */}}
{{- define "scoregate.labels" -}}
{{ include "scoregate.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* How an arm's pods are spread, as YAML; of the newest template alone, or an update would count what goes. Takes root, name, arm (none with Argo). */}}
{{- define "scoregate.topologySpread" -}}
{{- $service := include "scoregate.service" . | fromYaml }}
{{- range $service.topologySpread.keys }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: {{ $service.topologySpread.whenUnsatisfiable }}
  labelSelector:
    matchLabels:
      {{- include "scoregate.selector" $ | nindent 6 }}
  matchLabelKeys: [{{ ternary "pod-template-hash" "rollouts-pod-template-hash" (not (empty $.arm)) }}]
{{- end }}
{{- end }}

{{/* Annotations of a hook before install and upgrade. Never on rollback, which must not wait. Takes weight. */}}
{{- define "scoregate.before" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Likewise after install and upgrade. */}}
{{- define "scoregate.after" -}}
helm.sh/hook: post-install,post-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Where the registry is, a list of environment variables from Secrets. Takes root. */}}
{{- define "scoregate.registryEnv" -}}
{{- with .root.Values.registry.existingSecret }}
- name: SCOREGATE_REGISTRY_URL
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.root.Values.registry.key }}
{{- end }}
{{- end }}

{{/* Restricted pod security for a pod. Takes root. */}}
{{- define "scoregate.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .root.Values.podSecurity.runAsUser }}
runAsGroup: {{ .root.Values.podSecurity.fsGroup }}
fsGroup: {{ .root.Values.podSecurity.fsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Restricted pod security for a container; the same for all. */}}
{{- define "scoregate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Seconds from "terminating" to SIGKILL: every wait on the way out, in order. Takes root, service. */}}
{{- define "scoregate.graceSeconds" -}}
{{- $deadline := divf .service.settings.deadline_ms 1000 | ceil }}
{{- add .root.Values.drain.preStopSeconds (ceil .service.settings.drain_s) $deadline .root.Values.drain.marginSeconds }}
{{- end }}

{{/* The environment of both arms that is no secret, as YAML. Takes root, name. */}}
{{- define "scoregate.env" -}}
{{- $service := include "scoregate.service" . | fromYaml }}
{{- range $key, $value := $service.settings }}
SCOREGATE_{{ upper $key }}: {{ if kindIs "string" $value }}{{ quote $value }}{{ else }}{{ toJson $value | quote }}{{ end }}
{{- end }}
SCOREGATE_ENV: production
SCOREGATE_HOME: /var/lib/scoregate
SCOREGATE_KEYS_FILE: /etc/scoregate/keys/{{ .root.Values.keys.key }}
SCOREGATE_HASH_KEY_FILE: /etc/scoregate/hash-key/{{ .root.Values.hashKey.key }}
SCOREGATE_REGISTRY: {{ .root.Values.models.registry | quote }}
{{ include "scoregate.ledgerSettings" . | trim }}
{{- if not .root.Values.onlineStore.existingSecret }}
SCOREGATE_STORE_URL: {{ .root.Values.onlineStore.url | quote }}
{{- end }}
{{- with .root.Values.otlp.endpoint }}
SCOREGATE_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
BENTOML_HOME: /var/lib/bentoml
BENTOML_DO_NOT_TRACK: "true"
HOME: /tmp
{{- end }}

{{/* The worker's environment that is no secret, as YAML. Takes root. */}}
{{- define "scoregate.workerEnv" -}}
{{- range $key, $value := .root.Values.worker.settings }}
SCOREGATE_{{ upper $key }}: {{ if kindIs "string" $value }}{{ quote $value }}{{ else }}{{ toJson $value | quote }}{{ end }}
{{- end }}
SCOREGATE_ENV: production
SCOREGATE_HOME: /var/lib/scoregate
SCOREGATE_PROJECT: {{ .root.Values.defaults.settings.project | quote }}
SCOREGATE_REGISTRY: {{ .root.Values.models.registry | quote }}
{{- if not .root.Values.onlineStore.existingSecret }}
SCOREGATE_STORE_URL: {{ .root.Values.onlineStore.url | quote }}
{{- end }}
HOME: /tmp
{{- end }}

{{/* One egress rule. Takes peers ({to, port}), protocols (default TCP). No peers means any address. */}}
{{- define "scoregate.egress" -}}
- ports:
    {{- range .protocols | default (list "TCP") }}
    - port: {{ $.peers.port }}
      protocol: {{ . }}
    {{- end }}
  {{- with .peers.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
