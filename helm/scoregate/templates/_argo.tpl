{{/*
What a service's pods are started by, as YAML {arms: [{arm, image, model, replicas}, …]}: a Deployment for each arm, or
one Rollout, whose template is the canary's where there is one; Argo remembers stable's. Takes root, name.
*/}}
{{- define "scoregate.workloads" -}}
{{- $arms := (include "scoregate.arms" . | fromYaml).arms }}
{{- if eq .root.Values.rollout.strategy "argo" }}
{{- $arms = list (merge (dict "replicas" (first $arms).replicas) (last $arms)) }}
{{- end }}
{{- toYaml (dict "arms" $arms) }}
{{- end }}

{{/* A step of a Rollout: a share, and the verdict on it. Takes root, name, percent. */}}
{{- define "scoregate.step" -}}
- setWeight: {{ .percent }}
- analysis:
    templates:
      - templateName: {{ include "scoregate.name" . }}-judge
    args:
      - name: canary
        valueFrom:
          podTemplateHashValue: Latest
      - name: percent
        value: {{ .percent | quote }}
{{- end }}
