{{/* The pod that scores a file. Takes root, name (the service), asked (an entry of batch.jobs). */}}
{{- define "scoregate.batchPod" -}}
{{- $service := include "scoregate.service" . | fromYaml }}
{{- $batch := .root.Values.batch }}
{{- $named := dict "root" .root "name" (printf "%s-batch" .name) }}
{{- $command := list "python" "-m" "scoregate" "score" .name "--in" (printf "/files/%s" .asked.in) "--out" (printf "/files/%s" .asked.out) "--resume" }}
{{- with .asked.workers }}
{{- $command = concat $command (list "--workers" (toString .)) }}
{{- end }}
metadata:
  labels:
    {{- include "scoregate.podLabels" (dict "root" .root "name" "batch") | nindent 4 }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ include "scoregate.name" . }}
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
    - name: batch
      image: {{ include "scoregate.image" (merge $named $batch.image) | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: {{ toJson $command }}
      envFrom:
        - configMapRef:
            name: {{ include "scoregate.name" . }}
      env:
        # What stable would have answered.
        - name: SCOREGATE_ARM
          value: stable
        - name: SCOREGATE_MODEL_DIR
          value: {{ printf "%s/%s" .root.Values.models.root ($service.model | default .name) | quote }}
        {{- with .root.Values.onlineStore.existingSecret }}
        - name: SCOREGATE_STORE_URL
          valueFrom:
            secretKeyRef:
              name: {{ . }}
              key: {{ $.root.Values.onlineStore.key }}
        {{- end }}
        {{- include "scoregate.ledgerEnv" . | trim | nindent 8 }}
        {{- with include "scoregate.registryEnv" . | trim }}
        {{- . | nindent 8 }}
        {{- end }}
      resources:
        {{- toYaml $batch.resources | nindent 8 }}
      securityContext:
        {{- include "scoregate.containerSecurity" . | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        - name: files
          mountPath: /files
        - name: hash-key
          mountPath: /etc/scoregate/hash-key
          readOnly: true
        {{- if .root.Values.models.existingClaim }}
        - name: models
          mountPath: {{ .root.Values.models.root | quote }}
          readOnly: true
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    - name: files
      persistentVolumeClaim:
        claimName: {{ .asked.claim }}
    - name: hash-key
      secret:
        secretName: {{ .root.Values.hashKey.existingSecret }}
        defaultMode: 0440
    {{- with .root.Values.models.existingClaim }}
    - name: models
      persistentVolumeClaim:
        claimName: {{ . }}
        readOnly: true
    {{- end }}
{{- end }}

{{/* What cannot work of batches: sentences, as YAML {problems: […]}. Takes root. */}}
{{- define "scoregate.batchProblems" -}}
{{- $problems := list }}
{{- range $job, $asked := .root.Values.batch.jobs }}
{{- if not (hasKey $.root.Values.services $asked.service) }}
{{- $problems = append $problems (printf "batch.jobs.%s.service is %s, which is not among the services of this release: name one that is." $job $asked.service) }}
{{- end }}
{{- if not $.root.Values.ledger.url.existingSecret }}
{{- $problems = append $problems (printf "batch.jobs.%s needs a ledger that its pods share with those of the service, or what is scored twice is decided twice: set ledger.url.existingSecret." $job) }}
{{- end }}
{{- if eq $asked.in $asked.out }}
{{- $problems = append $problems (printf "batch.jobs.%s reads and writes the same file, %s: give `out` another name." $job $asked.in) }}
{{- end }}
{{- if gt (len (printf "%s-batch-%s" $.root.Release.Name $job)) 56 }}
{{- $problems = append $problems (printf "The release name %s is too long for batch.jobs.%s: together they may have 49 characters, since a Kubernetes name ends at 63." $.root.Release.Name $job) }}
{{- end }}
{{- end }}
{{- toYaml (dict "problems" $problems) }}
{{- end }}
