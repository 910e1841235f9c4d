{{/*
What everything that opens a ledger has in common: environment, mounts, volumes. All take root and name.
*/}}

{{/* Environment from Secrets, a list. Takes also secret, {existingSecret, key}, which wins over that of `ledger.url`. */}}
{{- define "scoregate.ledgerEnv" -}}
{{- $own := .secret | default dict }}
{{- $from := ternary $own .root.Values.ledger.url (not (empty $own.existingSecret)) }}
{{- with $from.existingSecret }}
- name: SCOREGATE_LEDGER_URL
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $from.key }}
{{- end }}
{{- end }}

{{/* Settings of checkpoints and segments, as YAML. */}}
{{- define "scoregate.ledgerSettings" -}}
{{- with .root.Values.ledger.checkpoints }}
{{- if .existingClaim }}
SCOREGATE_CHECKPOINT_S: {{ .everySeconds | toString | quote }}
SCOREGATE_CHECKPOINT_DIR: /var/lib/scoregate/checkpoints
SCOREGATE_CHECKPOINT_KEY_FILE: /etc/scoregate/checkpoint-key/{{ .signingKey.key }}
{{- else }}
SCOREGATE_CHECKPOINT_S: "0"
{{- end }}
{{- end }}
{{- with .root.Values.ledger.segments }}
{{- if .accept }}
SCOREGATE_LEDGER_SEGMENT: accept
SCOREGATE_LEDGER_SEGMENT_DIR: /var/lib/scoregate/segments
SCOREGATE_LEDGER_SEGMENT_BYTES: {{ int64 .bytes | toString | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where a serving pod mounts checkpoints, their key and its segments. */}}
{{- define "scoregate.ledgerMounts" -}}
{{- if .root.Values.ledger.checkpoints.existingClaim }}
- name: checkpoints
  mountPath: /var/lib/scoregate/checkpoints
  {{- if .root.Values.ledger.sqlite.existingClaim }}
  # A ledger of its own has checkpoints of its own.
  subPathExpr: $(POD_NAME)
  {{- end }}
- name: checkpoint-key
  mountPath: /etc/scoregate/checkpoint-key
  readOnly: true
{{- end }}
{{- if .root.Values.ledger.segments.accept }}
- name: segments
  mountPath: /var/lib/scoregate/segments
{{- end }}
{{- end }}

{{/* The volumes of these; that of segments is a claim of the StatefulSet. */}}
{{- define "scoregate.ledgerVolumes" -}}
{{- with .root.Values.ledger.checkpoints }}
{{- if .existingClaim }}
- name: checkpoints
  persistentVolumeClaim:
    claimName: {{ .existingClaim }}
- name: checkpoint-key
  secret:
    secretName: {{ .signingKey.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- end }}

{{/* The claim of a StatefulSet's segments. It stays when the pod, and when the release goes: what it holds was acknowledged. */}}
{{- define "scoregate.segmentClaim" -}}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: Retain
  whenScaled: Retain
volumeClaimTemplates:
  - metadata:
      name: segments
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .root.Values.ledger.segments.storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .root.Values.ledger.segments.size }}
{{- end }}

{{/* The pod of a Job that opens a ledger: takes root, name, component, command (a list); account and secret if they are its own. */}}
{{- define "scoregate.ledgerJobPod" -}}
{{- $service := include "scoregate.service" . | fromYaml }}
{{- $image := merge (dict "root" .root "name" .name) $service.image }}
{{- $sqlite := .root.Values.ledger.sqlite.existingClaim }}
metadata:
  labels:
    {{- include "scoregate.podLabels" (dict "root" .root "name" .component) | nindent 4 }}
spec:
  restartPolicy: Never
  {{- with .account }}
  serviceAccountName: {{ . }}
  {{- end }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- include "scoregate.podSecurity" . | nindent 4 }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $service.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $service.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "scoregate.image" $image | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: {{ toJson .command }}
      env:
        - name: SCOREGATE_HOME
          value: /var/lib/scoregate
        - name: HOME
          value: /tmp
        {{- include "scoregate.ledgerEnv" . | trim | nindent 8 }}
      resources:
        requests: {cpu: 100m, memory: 128Mi}
        limits: {memory: 512Mi}
      securityContext:
        {{- include "scoregate.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- if $sqlite }}
        - name: ledger
          mountPath: /var/lib/scoregate/ledgers
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- with $sqlite }}
    - name: ledger
      persistentVolumeClaim:
        claimName: {{ . }}
    {{- end }}
{{- end }}
